// How coatcheck proves to an authorization server which client it is.
import { importPKCS8 } from 'jose'
import { type ClientAuth, ClientSecretBasic, ClientSecretPost, modifyAssertion, PrivateKeyJwt } from 'openid-client'
import type { ProviderConfig } from '../config.ts'

/** The configured client authentication. Secrets are form-encoded for Basic as RFC 6749, section 2.3.1 says. */
export async function clientAuthentication({ clientAuth }: ProviderConfig): Promise<ClientAuth> {
  switch (clientAuth.method) {
    case 'client_secret_basic':
      return ClientSecretBasic(clientAuth.secret)
    case 'client_secret_post':
      return ClientSecretPost(clientAuth.secret)
    case 'private_key_jwt': {
      const key = await importPKCS8(clientAuth.key, clientAuth.alg)
      return PrivateKeyJwt(clientAuth.kid === undefined ? key : { key, kid: clientAuth.kid }, {
        // A type of its own, so that no other kind of JWT passes for an assertion (RFC 8725, section 3.11).
        [modifyAssertion]: (header) => {
          header.typ = 'client-authentication+jwt'
        },
      })
    }
  }
}
