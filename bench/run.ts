// `npm run bench`: what one proxied request costs, in coatcheck and in what one would pick instead. RESULTS.md explains.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bareNode } from './contestants/bare-node.ts'
import { coatcheck, features } from './contestants/coatcheck.ts'
import type { Contestant } from './contestants/contestant.ts'
import { expressOpenidConnect } from './contestants/express-openid-connect.ts'
import { honoProxy } from './contestants/hono-proxy.ts'
import { modAuthOpenidc } from './contestants/mod-auth-openidc.ts'
import { nginx } from './contestants/nginx.ts'
import { type AuthorizationServer, type Client, startAuthorizationServer } from './support/authorization-server.ts'
import { describeMachine } from './support/machine.ts'
import { type Options, readOptions, usage } from './support/options.ts'
import { install, missing } from './support/packages.ts'
import { freePort, shareCores, stopServers } from './support/processes.ts'
import { rowsOf } from './support/report.ts'
import { notes, writeJson, writeMarkdown } from './support/results.ts'
import { type Entrant, runRounds } from './support/rounds.ts'
import { startUpstream } from './support/upstream.ts'

const thisTree = fileURLToPath(new URL('..', import.meta.url))
/** Needed whoever takes part: the upstream, and the load generator. */
const indispensable = { nginx: '/usr/sbin/nginx', wrk: '/usr/bin/wrk' }

/** Runs it all. @throws Error when something is not as it must be; no figure ever makes it fail */
async function main(options: Options): Promise<void> {
  const contestants = chosen(options)
  const leftOut = notInstalled(contestants)
  const taking = contestants.filter(({ name }) => leftOut[name] === undefined)

  const cores = await shareCores()
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-bench-'))
  let authorizationServer: AuthorizationServer | undefined
  const cleanUp = async () => {
    authorizationServer?.close()
    await stopServers()
    await rm(dir, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void cleanUp().then(() => process.exit(1)))
  }
  try {
    const clients = new Map<Contestant, Client>()
    for (const contestant of taking) clients.set(contestant, await clientFor(contestant))
    authorizationServer = await startAuthorizationServer([...clients.values()])
    const upstream = await startUpstream(dir)
    const entrants: Entrant[] = []
    for (const [contestant, client] of clients) {
      const { origin: url, port } = new URL(client.redirectUri)
      const accessToken = await authorizationServer.issue(client)
      const common = { upstream, authorizationServer, core: cores?.contestant }
      const own = { port: Number(port), url, client, accessToken, dir: await mkdtemp(join(dir, 'contestant-')) }
      entrants.push({ contestant, setting: { ...common, ...own } })
    }
    const measured = await runRounds(entrants, options.rounds, options.seconds, say)
    const results = {
      at: new Date().toISOString(),
      options,
      machine: await describeMachine(),
      pinned: cores !== undefined,
      leftOut,
      contestants: measured,
      rows: rowsOf(measured, bareNode.name),
    }
    say(`${notes(results)}\n\nEverything measured: ${await writeJson(results)}`)
    if (options.write) await writeMarkdown(results)
  } finally {
    await cleanUp()
  }
  for (const [name, why] of Object.entries(leftOut)) process.stderr.write(`\n!!! NOT MEASURED: ${name}: ${why}\n`)
}

function chosen({ only, beside, features: wantsFeatures }: Options): Contestant[] {
  const plain = coatcheck('coatcheck', '`coatcheck serve`; cookie session, default settings', thisTree)
  const variants = Object.entries(features).map(([name, feature]) =>
    coatcheck(`coatcheck, ${name}`, `with ${name}`, thisTree, feature),
  )
  const all = wantsFeatures
    ? [bareNode, plain, ...variants]
    : [nginx, bareNode, plain, modAuthOpenidc, expressOpenidConnect, honoProxy]
  const names = all.map(({ name }) => name)
  const unknown = (only ?? []).filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new RangeError(`--only takes ${names.join(', ')}, and not ${unknown.join(', ')}`)
  const others = beside.map((tree) =>
    coatcheck(`coatcheck in ${basename(resolve(tree))}`, 'another tree', resolve(tree)),
  )
  return [...all.filter(({ name }) => only === undefined || only.includes(name)), ...others]
}

/**
 * Who cannot take part, and why, after an attempt to mend it.
 * @throws Error when it is the run itself that cannot do without
 */
function notInstalled(contestants: readonly Contestant[]): Record<string, string> {
  install(missing(Object.assign({}, indispensable, ...contestants.map(({ packages }) => packages))))
  if (missing(indispensable).length > 0) throw new Error('Nothing can be measured without nginx (the upstream) and wrk')
  const absent = contestants.map(({ name, packages = {} }) => [name, missing(packages)] as const)
  return Object.fromEntries(
    absent
      .filter(([, names]) => names.length > 0)
      .map(([name, names]) => [name, `these Debian packages are not installed: ${names.join(' ')}`]),
  )
}

async function clientFor({ name, callbackPath = '/' }: Contestant): Promise<Client> {
  return { id: name, secret: crypto.randomUUID(), redirectUri: `http://127.0.0.1:${await freePort()}${callbackPath}` }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) say(usage)
  else await main(options)
} catch (error) {
  const { message } = error as Error
  const isUsage = error instanceof RangeError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  process.stderr.write(`\n${isUsage ? `${message}\n\n${usage}` : message}\n`)
  process.exitCode = 1
}
