// A configuration from a file: JSON with or without comments, or a module that exports one.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import stripJsonComments from 'strip-json-comments'
import type { ConfigInput } from './config.ts'
import { ConfigError, readConfig, requireStore } from './config-reader.ts'

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
  const config = readConfig(document, env)
  requireStore(config, 'Node')
  const { spa, store } = config
  if (store.type === 'sqlite' && !existsSync(dirname(resolve(root, store.path)))) {
    throw new ConfigError(['store.path: its folder does not exist'])
  }
  if (spa && !existsSync(join(root, spa.dir, spa.fallback))) {
    throw new ConfigError([
      existsSync(join(root, spa.dir)) ? 'spa.fallback: no such file in spa.dir' : 'spa.dir: no such folder',
    ])
  }
  return { document, root }
}

async function fromJson(file: string, path: string): Promise<unknown> {
  try {
    return JSON.parse(stripJsonComments(await readFile(file, 'utf8'), { trailingCommas: true }))
  } catch (error) {
    const place = /line \d+ column \d+/.exec(String(error))?.[0]
    throw new ConfigError([`${path}: is not valid JSON${place ? ` (${place})` : ''}`])
  }
}

async function fromModule(file: string, path: string): Promise<unknown> {
  try {
    const module = (await import(pathToFileURL(file).href)) as { default?: unknown }
    return module.default
  } catch (error) {
    throw new ConfigError([`${path}: cannot be loaded: ${error instanceof Error ? error.message : 'unknown error'}`])
  }
}
