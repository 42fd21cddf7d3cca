// What some settings of a provider ask of the others: keys of who signs, and everything that a security profile stands for.

type Fields = Record<string, unknown>
type Mistakes = Generator<[path: string, mistake: string]>

/** Mistakes between settings of the providers, each with its path. Reads the document itself, so it always speaks. */
export function providerContradictions(providers: readonly unknown[], publicUrl: unknown): [string, string][] {
  return providers.flatMap((item, index) => {
    const found = [...signingMistakes(fieldsOf(item)), ...profileMistakes(fieldsOf(item), publicUrl)]
    return found.map(([at, what]): [string, string] => [`providers[${index}].${at}`, what])
  })
}

function* signingMistakes({ clientAuth, jar, keys }: Fields): Mistakes {
  const { method, key } = fieldsOf(clientAuth)
  const hasKey = (method === 'private_key_jwt' && key !== undefined) || listOf(keys).length > 0
  if (jar === true && !hasKey) yield ['jar', 'needs a key to sign with: set keys']
  if (method === 'private_key_jwt' && !hasKey) yield ['clientAuth.key', 'is required, unless the provider has keys']
}

/** FAPI 2.0 Security Profile, section 5.3.3 and 5.4: what contradicts it. What it needs at run time is in oauth/. */
function* profileMistakes(provider: Fields, publicUrl: unknown): Mistakes {
  if (provider.profile !== 'fapi2') return
  const profile = 'with profile fapi2'
  const { method, alg } = fieldsOf(provider.clientAuth)
  const isByTls = method === 'tls_client_auth' || method === 'self_signed_tls_client_auth'
  if (typeof publicUrl === 'string' && publicUrl.startsWith('http:'))
    yield ['profile', 'fapi2 needs an https publicUrl']
  if (method !== undefined && method !== 'private_key_jwt' && !isByTls) {
    yield ['clientAuth.method', `must be private_key_jwt, tls_client_auth or self_signed_tls_client_auth ${profile}`]
  }
  if (provider.dpop === false && !isByTls) {
    yield ['dpop', `must not be false ${profile}, unless clientAuth is a certificate that the tokens are bound to`]
  }
  if (provider.par === false) yield ['par', `must not be false ${profile}`]
  if (provider.allowInsecureRequests === true) yield ['allowInsecureRequests', `must not be true ${profile}`]
  const signing = `must be PS256, ES256, EdDSA or Ed25519 ${profile}`
  if (alg === 'RS256') yield ['clientAuth.alg', signing]
  for (const [index, key] of listOf(provider.keys).entries()) {
    if (fieldsOf(key).alg === 'RS256') yield [`keys[${index}].alg`, signing]
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}
