// `npm run demo`: everything that is needed to try coatcheck, on this machine and for this machine only.
import type { LogEvent } from '../src/observability.ts'
import { accounts } from './accounts.ts'
import { isFree } from './ports.ts'
import { startDemo } from './start.ts'

/** Carried by wrangler.toml as well. It protects nothing: both ends of it are on loopback. */
const defaultSecret = 'demo-secret-not-for-production'
/** Where `wrangler dev` serves the Worker. */
const workerUrl = 'http://localhost:8787'

const out = (text: string) => process.stdout.write(`${text}\n`)

async function main(): Promise<void> {
  const demo = await startDemo({
    ports: {
      app: process.env.PORT ? await chosenPort(process.env.PORT) : await usualPort('the application', 3000),
      authorizationServer: await usualPort('the authorization server', 3010),
      api: await usualPort('the API', 3020),
    },
    clientSecret: process.env.COATCHECK_DEMO_CLIENT_SECRET || defaultSecret,
    otherAppUrls: [workerUrl],
    log: (event) => {
      if (!event.event.startsWith('server.')) out(eventLine(event))
    },
  })
  const ended = new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  const people = accounts.map(({ username, password }) => `${username} / ${password}`)
  out(`
  coatcheck demo. Not for production: plain http, printed passwords, loopback only.

    Open                  ${demo.url}
    Sign in as            ${people.join('   or   ')}

    Authorization server  ${demo.authorizationServer.issuer}
    API                   ${demo.api.url}

  Access tokens last 60 seconds; the page shows how they are replaced. Ctrl-C ends everything.
`)
  await ended
  await demo.close()
}

/** The port that somebody asked for: that one or none. */
async function chosenPort(text: string): Promise<number> {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(port <= 65_535)) throw new Error(`PORT is "${text}" and must be a port number`)
  if (!(await isFree(port))) throw new Error(`port ${port} is taken, and PORT asks for it`)
  return port
}

/** The usual port, or 0 where somebody has it already. */
async function usualPort(what: string, port: number): Promise<number> {
  if (await isFree(port)) return port
  out(`  Port ${port} is taken: ${what} takes a free one instead.`)
  return 0
}

/** An event of coatcheck on one line, for people. */
function eventLine({ event, ...about }: LogEvent): string {
  const facts = Object.entries(about).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  return `  ${new Date().toTimeString().slice(0, 8)}  ${event.padEnd(20)} ${facts.join(' ')}`.trimEnd()
}

await main().catch((error: Error & { code?: string }) => {
  process.stderr.write(`The demo cannot start: ${error.message}\n`)
  process.exitCode = 1
})
