// The settings by which coatcheck proves to an authorization server which client it is: secrets, keys, certificates.
import * as z from 'zod'
import { flag, rule, text } from './config-values.ts'

/** How a PKCS #8 key of the right kind says what it is (RFC 5208, section 5): object identifiers, in hexadecimal. */
const keyTypes = {
  PS256: '06092a864886f70d010101',
  ES256: '06082a8648ce3d030107',
  EdDSA: '06032b6570',
  Ed25519: '06032b6570',
  RS256: '06092a864886f70d010101',
} as const

const algorithm = z.enum(['PS256', 'ES256', 'EdDSA', 'Ed25519', 'RS256'], {
  error: 'must be PS256, ES256, EdDSA, Ed25519 or RS256',
})

const pkcs8 = text.describe('Private key, PKCS #8 PEM.')
const keySettings = {
  alg: algorithm
    .default('ES256')
    .describe('What it signs with. `EdDSA` and `Ed25519` are two names for one algorithm: as the server calls it.'),
  kid: text
    .optional()
    .describe('`kid` under which the authorization server knows the key; by default its thumbprint (RFC 7638).'),
}

/** What is wrong with a key that was read or stands in the document as `key`, next to its `alg`. */
function withUsableKey<T extends z.ZodType<{ key?: string | undefined; alg: z.output<typeof algorithm> }>>(
  schema: T,
): T {
  const isOfKind = rule(
    schema,
    ['key'],
    'must be a private key of the kind that alg needs, as PKCS #8 PEM: -----BEGIN PRIVATE KEY-----',
    ({ key, alg = 'ES256' }) => typeof key === 'string' && !headOf(key).includes(keyTypes[alg] ?? ''),
  )
  return rule(
    isOfKind,
    ['key'],
    'must be an RSA key of at least 2048 bits',
    ({ key, alg }) => typeof key === 'string' && isShortRsa(headOf(key)) && /^[PR]S256$/.test(alg),
  )
}

/** The first bytes of a PKCS #8 key, in hexadecimal; `-` for anything else. */
function headOf(pem: string): string {
  const body = /^\s*-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*$/.exec(pem)?.[1]
  try {
    const bytes = atob((body ?? '-').replace(/\s/g, '')).slice(0, 60)
    return Array.from(bytes, (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('')
  } catch {
    return '-'
  }
}

/** Whether it is an RSA key with a modulus below 2,048 bits: 256 bytes, and a zero before them (RFC 8017, appendix A.1.2). */
function isShortRsa(head: string): boolean {
  if (!head.includes(keyTypes.RS256)) return false
  const modulus = /0482.{4}3082.{4}0201000282(.{4})/.exec(head)?.[1]
  return modulus === undefined || Number.parseInt(modulus, 16) < 257
}

/** A private key of the client. */
export const clientKey = withUsableKey(z.strictObject({ key: pkcs8, ...keySettings }))

/** RFC 8705, section 2. Whether it is a certificate that TLS can use is for the platform to say. */
function tls<const Method extends string>(method: Method, meaning: string) {
  const settings = z.strictObject({
    method: z.literal(method).describe(meaning),
    cert: text
      .regex(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/, 'must be a certificate in PEM')
      .optional()
      .describe('Certificate in PEM, with those between it and its root behind it (Node).'),
    key: text
      .regex(/-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/, 'must be a private key in PEM, not encrypted')
      .optional()
      .describe('Private key of the certificate, PEM (Node).'),
    binding: text.optional().describe('Binding of an mTLS certificate, in the place of `cert` and `key` (Workers).'),
  })
  const error = 'must have cert and key (Node), or a binding (Cloudflare Workers)'
  return rule(settings, [], error, ({ cert, key, binding }) =>
    binding === undefined ? cert === undefined || key === undefined : cert !== undefined || key !== undefined,
  )
}

const secret = text.describe('`client_secret` registered there.')

export const clientAuth = z.discriminatedUnion(
  'method',
  [
    z.strictObject({
      method: z.literal('client_secret_basic').describe('The secret in a Basic header (RFC 6749, section 2.3.1).'),
      secret,
      formEncoded: flag
        .default(true)
        .describe(
          'Form-encodes `clientId` and `secret` before they go into the header, as RFC 6749 says. `false` is for servers that do not decode them.',
        ),
    }),
    z.strictObject({
      method: z.literal('client_secret_post').describe('The secret in the form (RFC 6749, section 2.3.1).'),
      secret,
    }),
    withUsableKey(
      z.strictObject({
        method: z.literal('private_key_jwt').describe('A signed assertion (RFC 7523): no secret is shared.'),
        key: pkcs8
          .optional()
          .describe('Private key, PKCS #8 PEM. It stands before those of `keys`, and is required without any.'),
        ...keySettings,
      }),
    ),
    tls('tls_client_auth', 'A certificate of an authority that the server trusts (RFC 8705, section 2.1).'),
    tls('self_signed_tls_client_auth', 'A certificate that the server knows itself (RFC 8705, section 2.2).'),
  ],
  {
    error:
      'must have a method: client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth or self_signed_tls_client_auth',
  },
)
