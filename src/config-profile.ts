// What some settings of a provider ask of the others: keys of who signs with them.

type Fields = Record<string, unknown>

/** Mistakes between settings of the providers, each with its path. Reads the document itself, so it always speaks. */
export function providerContradictions(providers: readonly unknown[]): [path: string, mistake: string][] {
  return providers.flatMap((item, index) =>
    [...mistakesOf(fieldsOf(item))].map(([at, what]): [string, string] => [`providers[${index}].${at}`, what]),
  )
}

function* mistakesOf(provider: Fields): Generator<[path: string, mistake: string]> {
  const { method, key } = fieldsOf(provider.clientAuth)
  const keys = Array.isArray(provider.keys) ? provider.keys : []
  const hasKey = (method === 'private_key_jwt' && key !== undefined) || keys.length > 0
  if (provider.jar === true && !hasKey) yield ['jar', 'needs a key to sign with: set keys']
  if (method === 'private_key_jwt' && !hasKey) yield ['clientAuth.key', 'is required, unless the provider has keys']
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}
