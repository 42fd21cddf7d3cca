#!/usr/bin/env node
// The command line: serve, check, doctor, keys.
import { parseArgs } from 'node:util'
import { type ConfigFile, readConfigFile } from './config-file.ts'
import { ConfigError, readConfig } from './config-reader.ts'
import { type RunningServer, serve } from './node.ts'
import { base64url } from './session/seal.ts'

const usage = `Usage:
  coatcheck serve --config FILE   serve on Node; on SIGHUP session.keys are read again
  coatcheck check --config FILE   check a configuration, offline (exit 0, or 2 with every mistake)
  coatcheck doctor --config FILE  check, then look at the live authorization servers, stores and upstreams
                                  (exit 0, 1 with problems, 2 with mistakes); --json for programs
  coatcheck keys [--number N]     make a session key, and say how to rotate

A configuration is one JSON document; docs/configuration.md describes it. The least of one:

  {
    "publicUrl": "https://app.example.com",
    "session": { "keys": ["\${COATCHECK_KEY}"] },
    "providers": [{ "id": "main", "issuer": "https://as.example.com", "clientId": "app",
                    "clientAuth": { "method": "client_secret_basic", "secret": "\${CLIENT_SECRET}" } }],
    "routes": [{ "path": "/api", "upstream": "https://api.internal", "token": "user" }]
  }
`

const exitCode = { ok: 0, problem: 1, badConfiguration: 2 } as const

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: 'string' },
      number: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const [command] = positionals
  if (values.help) return say(usage)
  if (command === 'keys') return keys(values.number)
  if (command !== 'serve' && command !== 'check' && command !== 'doctor') return fail(usage)
  if (values.config === undefined) {
    return fail(`coatcheck ${command} needs a configuration: --config FILE\n\n${usage}`)
  }
  if (command === 'doctor') return doctor(values.config, values.json === true)
  const file = await readConfigFile(values.config, process.env)
  if (command === 'check') return say(`${values.config}: the configuration is good\n`)
  const { config } = values
  const server = await serve(file.document, { root: file.root })
  // One after the other, or an older file that is slow to read would have the last word.
  let reloading = Promise.resolve()
  process.on('SIGHUP', () => {
    reloading = reloading.then(() => reload(server, config))
  })
  await new Promise((resolve) => {
    // Whoever asks again, as managers of processes do, does not stop it sooner: that takes a bounded time.
    process.on('SIGTERM', resolve)
    // A person who presses the keys again means it.
    process.once('SIGINT', resolve)
  })
  await server.close()
  return exitCode.ok
}

/** Everything that is wrong with the world around a configuration. With `json` also mistakes of the configuration are JSON. */
async function doctor(path: string, json: boolean): Promise<number> {
  let file: ConfigFile
  try {
    file = await readConfigFile(path, process.env)
  } catch (error) {
    if (!json || !(error instanceof ConfigError)) throw error
    say(`${JSON.stringify({ ok: false, mistakes: error.mistakes }, undefined, 2)}\n`)
    return exitCode.badConfiguration
  }
  // Loaded only for this: whoever serves has no use for it.
  const [{ examine }, { textOf }] = await Promise.all([import('./doctor.ts'), import('./doctor/text.ts')])
  const report = await examine(readConfig(file.document, process.env), file.root)
  say(json ? `${JSON.stringify(report, undefined, 2)}\n` : textOf(report))
  return report.ok ? exitCode.ok : exitCode.problem
}

/** Session keys from the same file, as it is now. A mistake in it changes nothing. */
async function reload(server: RunningServer, path: string): Promise<void> {
  try {
    server.reloadKeys((await readConfigFile(path, process.env)).document)
  } catch (error) {
    process.stderr.write(`The session keys were not reloaded. ${(error as Error).message}\n`)
  }
}

function keys(number = '1'): number {
  if (!/^[1-9]\d{0,8}$/.test(number)) return fail('coatcheck keys: --number must be a whole number from 1 on\n')
  const key = `${number}:${base64url(crypto.getRandomValues(new Uint8Array(32)))}`
  return say(`${key}

This is a new session key. Keep it secret; put it into session.keys, best through the environment:
  "session": { "keys": ["\${COATCHECK_KEY}"] }

To rotate without signing anybody out, make a key with the next number and roll out in three steps:
  1. "keys": ["old", "new"]   every instance can open what the new key seals
  2. "keys": ["new", "old"]   the new key seals from now on
  3. "keys": ["new"]          once session.absoluteTimeout has passed since step 2
`)
}

function say(text: string): number {
  process.stdout.write(text)
  return exitCode.ok
}

function fail(text: string): number {
  process.stderr.write(text)
  return exitCode.badConfiguration
}

function explain(error: unknown): number {
  if (error instanceof ConfigError) return fail(`${error.message}\n`)
  const { code, message } = error as Error & { code?: string }
  if (code?.startsWith('ERR_PARSE_ARGS')) return fail(`${message}\n\n${usage}`)
  process.stderr.write(`coatcheck cannot start: ${message}\n`)
  return exitCode.problem
}

process.exitCode = await main().catch(explain)
