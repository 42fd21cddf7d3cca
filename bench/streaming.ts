// `npm run bench:streaming`: what a gigabyte costs on its way from an API to a browser, through nginx, a bare Node forwarder and
// coatcheck, in turns. RESULTS-streaming.md explains.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bareNode } from './contestants/bare-node.ts'
import { coatcheck } from './contestants/coatcheck.ts'
import type { Contestant, Setting } from './contestants/contestant.ts'
import { nginx } from './contestants/nginx.ts'
import { startAuthorizationServer } from './support/authorization-server.ts'
import { pageHeaders, signIn } from './support/browser.ts'
import { freePort, shareCores, stopServers } from './support/processes.ts'
import { drawn } from './support/report.ts'
import { median, rotated } from './support/statistics.ts'
import { bigBytes, startUpstream } from './support/upstream.ts'
import { cpuTime, memory } from './support/usage.ts'

/** Downloads in each measurement, and how many at once. */
const downloads = 8
const atOnce = 4

interface Sample {
  /** Milliseconds of CPU for each gigabyte. */
  readonly cpu: number
  readonly megabytesPerSecond: number
  /** Resident memory afterwards, megabytes. */
  readonly rss: number
}

/** Reads an answer to its end and throws it away; the number of its bytes. */
function download(url: string, cookie: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { ...pageHeaders, Cookie: cookie }, agent: false }, (answer) => {
      let bytes = 0
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      answer.on('end', () => resolve(bytes)).on('error', reject)
    }).on('error', reject)
  })
}

async function measure(contestant: Contestant, setting: Setting): Promise<Sample> {
  const { pid, signInUrl, stop } = await contestant.start(setting)
  try {
    const cookie = signInUrl === undefined ? 'none=none' : await signIn(signInUrl)
    const url = `${setting.url}/api/big`
    const whole = async () => {
      const bytes = await download(url, cookie)
      if (bytes !== bigBytes) throw new Error(`${contestant.name} passed on ${bytes} of ${bigBytes} bytes`)
    }
    await whole()
    const [began, spent] = [performance.now(), cpuTime(pid)]
    for (let round = 0; round < downloads / atOnce; round++) await Promise.all(Array.from({ length: atOnce }, whole))
    const gigabytes = (downloads * bigBytes) / 1_073_741_824
    const seconds = (performance.now() - began) / 1_000
    const cpu = (cpuTime(pid) - spent) / 1_000 / gigabytes
    return { cpu, megabytesPerSecond: (gigabytes * 1_024) / seconds, rss: memory(pid).rss }
  } finally {
    await stop()
  }
}

async function main(rounds: number, write: boolean): Promise<void> {
  const tree = fileURLToPath(new URL('..', import.meta.url))
  const contestants = [nginx, bareNode, coatcheck('coatcheck', '`coatcheck serve`; default settings', tree)]
  const cores = await shareCores()
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-bench-'))
  const clients = await Promise.all(
    contestants.map(async ({ name, callbackPath = '/' }) => {
      const redirectUri = `http://127.0.0.1:${await freePort()}${callbackPath}`
      return { id: name, secret: crypto.randomUUID(), redirectUri }
    }),
  )
  const authorizationServer = await startAuthorizationServer(clients)
  try {
    const upstream = await startUpstream(dir)
    const samples = new Map(contestants.map((contestant) => [contestant, [] as Sample[]]))
    for (let round = 0; round < rounds; round++) {
      for (const contestant of rotated(contestants, round)) {
        const client = clients.find(({ id }) => id === contestant.name)
        if (!client) continue
        const { origin: url, port } = new URL(client.redirectUri)
        const own = { port: Number(port), url, client, accessToken: await authorizationServer.issue(client) }
        const common = { upstream, authorizationServer, core: cores?.contestant }
        const setting = { ...common, ...own, dir: await mkdtemp(join(dir, 'contestant-')) }
        samples.get(contestant)?.push(await measure(contestant, setting))
      }
    }
    const rows = [...samples].map(([{ name }, all]) => {
      const middle = (figure: (sample: Sample) => number) => median(all.map(figure)).toFixed(0)
      return [name, middle(({ cpu }) => cpu), middle(({ megabytesPerSecond: rate }) => rate), middle(({ rss }) => rss)]
    })
    const table = drawn([['contestant', 'CPU ms/GB', 'MB/s', 'RSS MB'], ...rows])
    const text = `${table}\n\n- ${new Date().toISOString().slice(0, 10)}; medians of ${rounds} rounds; ${downloads} downloads of ${bigBytes / 1_048_576} MB, ${atOnce} at once.\n`
    process.stdout.write(`${text}\n`)
    if (write) await writeResults(text)
  } finally {
    authorizationServer.close()
    await stopServers()
    await rm(dir, { recursive: true, force: true })
  }
}

async function writeResults(text: string): Promise<void> {
  const file = new URL('RESULTS-streaming.md', import.meta.url)
  const before = await readFile(file, 'utf8')
  await writeFile(file, before.replace(/(<!-- results -->).*(<!-- \/results -->)/s, `$1\n${text}$2`))
}

const args = process.argv.slice(2)
await main(Number(args[args.indexOf('--rounds') + 1] ?? 5) || 5, args.includes('--write'))
