import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'

/** Every module of src with what it imports; types are only looked at where the rule is about them. */
const modules = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .map((file) => {
    const text = readFileSync(join('src', file), 'utf8')
    const imports = [...text.matchAll(/^(?:import|export)\s+(type\s)?([^'"]*?from\s+)?['"]([^'"]+)['"]/gms)].map(
      ([, type, , from = '']) => ({ from, isType: type !== undefined }),
    )
    // What is loaded only when it is needed, or only named as a type, belongs somewhere too.
    const later = [...text.matchAll(/(?:import|getBuiltinModule)\(['"]([^'"]+)['"]\)/g)].map(([, from = '']) => from)
    return { file, text, imports, later }
  })

const valueImports = (file: string) =>
  modules.find((one) => one.file === file)?.imports.filter(({ isType }) => !isType) ?? []
const own = (file: string, from: string) => normalize(join(dirname(file), from))
const isOwn = (from: string) => from.startsWith('.')

/** Everything that runs when `file` is loaded. */
function closure(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const { from } of valueImports(file)) {
    if (isOwn(from)) closure(own(file, from), seen)
    else seen.add(from)
  }
  return seen
}

describe('the source', () => {
  test('has each of its files on the map', () => {
    const map = readFileSync('ARCHITECTURE.md', 'utf8')
    const named = (file: string) => map.includes(` ${file.split('/').pop()}`)
    expect(modules.map(({ file }) => file).filter((file) => !named(file))).toEqual([])
  })

  test('has no import cycles', () => {
    const cycles: string[] = []
    const visit = (file: string, path: string[]) => {
      if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
      else for (const { from } of valueImports(file)) if (isOwn(from)) visit(own(file, from), [...path, file])
    }
    for (const { file } of modules) visit(file, [])
    expect(cycles).toEqual([])
  })

  test.each([
    ['openid-client', /^oauth\//],
    ['jose', /^oauth\//],
    ['iron-session', /^session\/seal\.ts$/],
    ['undici', /^(node-fetch|upstream\/(undici(-passage|-pools)?|http2))\.ts$/],
    ['ws', /^upstream\/websocket(-relay)?\.ts$/],
    ['zod', /^config(-bearer|-client|-provider|-route|-token|-values|-reader)?\.ts$/],
    ['send', /^node-platform\.ts$/],
    ['redis', /^stores\/redis-client\.ts$/],
    ['prom-client', /^admin\.ts$/],
    ['rate-limiter-flexible', /^upstream\/rate-limit\.ts$/],
    ['@hono/node-server', /^(node|node-exchange|node-platform|admin|upstream\/(undici(-passage)?|websocket))\.ts$/],
    [
      'node:',
      /^(node|node-platform|node-exchange|node-linger|node-upgrade|stdout-lines|cli|config-file|admin|doctor\/(certificate|upstream-request)|upstream\/(undici(-passage)?|websocket|upload|tls|http2(-connection)?)|stores\/sqlite(-file)?)\.ts$/,
    ],
    ['cloudflare:', /^(worker|stores\/durable-object)\.ts$/],
  ])('names %s only where it belongs', (vendor, where) => {
    const elsewhere = modules.filter(
      ({ file, imports, later }) =>
        !where.test(file) &&
        [...imports.map(({ from }) => from), ...later].some(
          (from) => from === vendor || from.startsWith(vendor.endsWith(':') ? vendor : `${vendor}/`),
        ),
    )
    expect(elsewhere.map(({ file }) => file)).toEqual([])
  })

  test('keeps everything that only Node has out of what a Worker loads', () => {
    const loaded = [...closure('worker.ts')]
    expect(loaded).toContain('app.ts')
    expect(loaded.filter((one) => /^(node:|undici|ws$|send|prom-client|redis|@hono\/node-server)/.test(one))).toEqual(
      [],
    )
    expect(
      loaded.filter((one) =>
        /^(node|node-platform|node-exchange|node-fetch|node-upgrade|cli|config-file|admin|doctor)\.ts$|^upstream\/websocket(-relay)?\.ts$|undici|sqlite|redis/.test(
          one,
        ),
      ),
    ).toEqual([])
  })

  test('keeps everything but names and types out of what a browser loads', () => {
    expect([...closure('client.ts')]).toEqual(['client.ts', 'wire.ts'])
    expect([...closure('wire.ts')]).toEqual(['wire.ts'])
  })

  test('loads the doctor only for its own command', () => {
    const loaded = ['cli.ts', 'node.ts', 'app.ts'].flatMap((file) => [...closure(file)])
    expect(loaded.filter((one) => one.startsWith('doctor'))).toEqual([])
  })

  test('lets the library be loaded without Node', () => {
    expect([...closure('index.ts')].filter((one) => one.startsWith('node:'))).toEqual([])
  })

  test('R025 posts no message but the one that a sign-in is over, and that to nobody but its own origin', () => {
    const messages = modules.filter(({ text }) => /postMessage|\bonmessage|\bopen\(.*popup/.test(text))
    expect(messages.map(({ file }) => file).sort()).toEqual(['client.ts', 'pages.ts'])
    const posted = messages.flatMap(({ text }) => text.match(/.*postMessage.*/g) ?? [])
    expect(posted).toEqual([
      expect.stringContaining("`new BroadcastChannel(${JSON.stringify(loginChannel)}).postMessage('finished')"),
    ])
  })

  test('never asks where it runs', () => {
    const sniffing = /navigator\.userAgent|process\.versions|typeof (process|Deno|Bun|WebSocketPair)|getRuntimeKey/
    expect(modules.filter(({ text }) => sniffing.test(text)).map(({ file }) => file)).toEqual([])
  })

  test('imports downwards: vocabulary knows nobody, sessions and stores do not know endpoints, endpoints no vendors', () => {
    const mayNot: [RegExp, RegExp][] = [
      [
        /^(errors|wire|reasons|platform|observability|config|config-(address|bearer|client|profile|provider|route|token|values|reader))\.ts$/,
        /^(app|node|worker|cli|endpoints|oauth|session|upstream|stores)/,
      ],
      [/^(session|stores|oauth|upstream)\//, /^(app|node|worker|cli)\.ts$|^endpoints\//],
      [/^endpoints\//, /^(app|node|worker|cli)\.ts$|openid-client|iron-session|undici|jose/],
      [/^stores\//, /^(session|oauth|upstream)\//],
    ]
    const wrong = mayNot.flatMap(([who, whom]) =>
      modules
        .filter(({ file }) => who.test(file))
        .flatMap(({ file, imports }) =>
          imports
            .filter(({ isType }) => !isType)
            .map(({ from }) => (isOwn(from) ? own(file, from) : from))
            .filter((target) => whom.test(target))
            .map((target) => `${file} -> ${target}`),
        ),
    )
    expect(wrong).toEqual([])
  })

  test('never imports the demo, the tests or the bench', () => {
    expect(
      modules.filter(({ imports }) => imports.some(({ from }) => /web-demo|\/test\/|bench|oidc-provider/.test(from))),
    ).toEqual([])
  })

  test('begins every module with what it is for, and keeps it to one idea', () => {
    expect(
      modules.filter(({ text }) => !/^(#!.*\n)?\/\/ [A-Z]|^(#!.*\n)?\/\/ [a-z]/.test(text)).map(({ file }) => file),
    ).toEqual([])
    expect(modules.filter(({ text }) => text.split('\n').length > 301).map(({ file }) => file)).toEqual([])
  })

  test('has no default exports but the Worker', () => {
    expect(modules.filter(({ text }) => /^export default/m.test(text)).map(({ file }) => file)).toEqual(['worker.ts'])
  })

  test('has no way around the type system', () => {
    const escapes = /\bas any\b|: any\b|@ts-(ignore|expect-error|nocheck)|biome-ignore/
    expect(modules.filter(({ text }) => escapes.test(text)).map(({ file }) => file)).toEqual([])
  })
})
