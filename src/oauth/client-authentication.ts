// How coatcheck proves to an authorization server which client it is.
import { type ClientAuth, ClientSecretPost, PrivateKeyJwt, TlsClientAuth } from 'openid-client'
import type { ProviderConfig } from '../config.ts'
import type { ClientCertificate } from '../platform.ts'
import { type SigningKey, signedAs } from './client-keys.ts'

/** The configured client authentication. @param signing obligatory for `private_key_jwt`; the configuration sees to it. */
export function clientAuthentication({ clientAuth }: ProviderConfig, signing: SigningKey | undefined): ClientAuth {
  switch (clientAuth.method) {
    case 'client_secret_basic':
      return basic(clientAuth.secret, clientAuth.formEncoded ? formEncoded : (text) => text)
    case 'client_secret_post':
      return ClientSecretPost(clientAuth.secret)
    case 'private_key_jwt': {
      if (!signing) throw new Error('private_key_jwt has no key')
      // Of openid-client are: one audience (the issuer, as a string), a new jti each time, and a life of a minute.
      return PrivateKeyJwt(signing, signedAs(signing.alg, 'client-authentication+jwt'))
    }
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return TlsClientAuth()
  }
}

/** With what this client proves itself in TLS handshakes there; `undefined` where it does so by other means. */
export function clientCertificate({ clientAuth }: ProviderConfig): ClientCertificate | undefined {
  const isByTls = clientAuth.method === 'tls_client_auth' || clientAuth.method === 'self_signed_tls_client_auth'
  return isByTls ? clientAuth : undefined
}

/**
 * RFC 6749, section 2.3.1, without openid-client: that encodes "-", "_" and "." too, which is no mistake, and which
 * servers that forget to decode do not survive.
 */
function basic(secret: string, encode: (text: string) => string): ClientAuth {
  return (_, { client_id: clientId }, __, headers) => {
    const bytes = new TextEncoder().encode(`${encode(clientId)}:${encode(secret)}`)
    headers.set('authorization', `Basic ${btoa(String.fromCharCode(...bytes))}`)
  }
}

/** `application/x-www-form-urlencoded`, as the URL standard has it. */
function formEncoded(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1)
}
