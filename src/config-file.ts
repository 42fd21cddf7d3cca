// A configuration from a file: JSON with or without comments, or a module that exports one.
import { existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { registerHooks } from 'node:module'
import { dirname, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import stripJsonComments from 'strip-json-comments'
import type { ConfigInput } from './config.ts'
import { ConfigError, readConfig, requirePlatform } from './config-reader.ts'
import { tlsMistakes } from './upstream/tls.ts'

export interface ConfigFile {
  readonly document: ConfigInput
  /** The folder of the file: paths in it are relative to this. */
  readonly root: string
}

/**
 * Reads and checks a configuration file, offline.
 * @throws ConfigError with every mistake; nothing in it quotes the file, which may hold secrets.
 */
export async function readConfigFile(path: string, env: Record<string, unknown>): Promise<ConfigFile> {
  const file = resolve(path)
  const root = dirname(file)
  if (!existsSync(file)) throw new ConfigError([`${path}: no such file`])
  // readConfig looks at every part of it.
  const document = (
    /\.[cm]?[jt]s$/.test(file) ? await fromModule(file, path) : await fromJson(file, path)
  ) as ConfigInput
  // Whatever else is wrong, the mistakes that only a look at this machine shows are told too.
  const found = [
    ...mistakesOf(document, env),
    ...missingFiles(document, root),
    ...storeMistakes(document, root),
    ...unsafe(env),
  ]
  if (found.length > 0) throw new ConfigError(found)
  return { document, root }
}

function mistakesOf(document: ConfigInput, env: Record<string, unknown>): readonly string[] {
  try {
    const config = readConfig(document, env)
    requirePlatform(config, 'Node')
    return tlsMistakes(config)
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes
    throw error
  }
}

/** What `spa` names and is not there. Looks at the document as it is written. */
function missingFiles(document: ConfigInput, root: string): string[] {
  const { dir, fallback = 'index.html' } = document?.spa ?? {}
  if (typeof dir !== 'string' || typeof fallback !== 'string' || /\$\{/.test(dir + fallback)) return []
  const folder = resolve(root, dir)
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return ['spa.dir: no such folder']
  const file = resolve(folder, fallback)
  const isInside = file.startsWith(folder + sep)
  if (isInside && statSync(file, { throwIfNoEntry: false })?.isFile()) return []
  return ['spa.fallback: no such file in spa.dir']
}

/** What is wrong with the place of a store in a file. */
function storeMistakes(document: ConfigInput, root: string): string[] {
  const { store } = document ?? {}
  if (store?.type !== 'sqlite' || typeof store.path !== 'string' || /\$\{/.test(store.path)) return []
  const path = resolve(root, store.path)
  if (!existsSync(dirname(path))) return ['store.path: its folder does not exist']
  const isOther = statSync(path, { throwIfNoEntry: false })?.isFile() === false
  return isOther ? ['store.path: must be a file, and is none'] : []
}

/** What in the environment would make everything else pointless. */
export function unsafe(env: Record<string, unknown>): string[] {
  if (env.NODE_TLS_REJECT_UNAUTHORIZED !== '0') return []
  return ['NODE_TLS_REJECT_UNAUTHORIZED: must not be 0, or anybody could play the authorization server']
}

async function fromJson(file: string, path: string): Promise<unknown> {
  try {
    // Some editors begin a file with a byte order mark.
    const text = (await readFile(file, 'utf8')).replace(/^\ufeff/, '')
    return JSON.parse(stripJsonComments(text, { trailingCommas: true }))
  } catch (error) {
    const place = /line \d+ column \d+/.exec(String(error))?.[0]
    throw new ConfigError([`${path}: is not valid JSON${place ? ` (${place})` : ''}`])
  }
}

/** A module may say `import { defineConfig } from 'coatcheck'`, and means this one, wherever it is installed. */
function resolveSelf(): { deregister(): void } {
  const self = new URL(import.meta.url.endsWith('.ts') ? './index.ts' : './index.js', import.meta.url).href
  return registerHooks({
    resolve: (specifier, context, next) =>
      specifier === 'coatcheck' ? { url: self, shortCircuit: true } : next(specifier, context),
  })
}

async function fromModule(file: string, path: string): Promise<unknown> {
  const hooks = resolveSelf()
  try {
    // As it is now, also when it was loaded before.
    const module = (await import(`${pathToFileURL(file).href}?${Date.now()}`)) as { default?: unknown }
    return module.default
  } catch (error) {
    throw new ConfigError([`${path}: cannot be loaded: ${error instanceof Error ? error.message : 'unknown error'}`])
  } finally {
    hooks.deregister()
  }
}
