// Makes what is published as a list from the source that decides it: the JSON Schema, the tables in docs/, and the table
// in SECURITY.md that leads from requirement to test.
// `--check` writes nothing and fails when a file is not what it should be.
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import * as z from 'zod'
import { configSchema } from '../src/config.ts'
import { findingKinds, type Kind } from '../src/doctor/kinds.ts'
import { errorCodes } from '../src/errors.ts'
import { levels } from '../src/observability.ts'
import { checkedClaims, oauthErrors, reasons } from '../src/reasons.ts'
import { conformanceOutcomes, conformanceTables, plans } from './conformance.ts'
import { areas, type Requirement, requirements } from './requirements.ts'

interface Schema {
  type?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  const?: unknown
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
  examples?: unknown[]
}

export const jsonSchema = {
  $id: 'coatcheck.schema.json',
  title: 'coatcheck configuration',
  ...(z.toJSONSchema(configSchema, { io: 'input' }) as Schema),
}

/** One line a setting, in the order of the source. */
function settings(schema: Schema, path: string): string[] {
  const lines: string[] = []
  for (const [name, setting] of Object.entries(schema.properties ?? {})) {
    const at = path ? `${path}.${name}` : name
    const isRequired = schema.required?.includes(name) ?? false
    const preset = isRequired ? 'required' : setting.default === undefined ? '' : defaultOf(setting)
    lines.push(`| \`${at}\` | ${typeOf(setting)} | ${preset} | ${escaped(setting.description ?? '')} |`)
    for (const [inner, suffix] of nested(setting)) lines.push(...settings(inner, at + suffix))
  }
  return lines
}

function nested(schema: Schema): [Schema, string][] {
  if (schema.properties) return [[schema, '']]
  if (schema.items) return nested(schema.items).map(([inner]) => [inner, '[]'])
  return (schema.anyOf ?? schema.oneOf ?? []).flatMap((option) =>
    nested(option).map(([inner, suffix]): [Schema, string] => [inner, ` (${kindOf(option)})${suffix}`]),
  )
}

/** The value that tells one kind of object from another. */
function kindOf({ properties = {} }: Schema): string {
  return String(Object.values(properties).find((one) => one.const !== undefined)?.const ?? 'object')
}

function defaultOf({ default: preset }: Schema): string {
  if (typeof preset === 'object' && preset !== null && Object.keys(preset).length === 0) return ''
  return code(JSON.stringify(preset))
}

function typeOf(schema: Schema): string {
  if (schema.enum) return schema.enum.map((one) => code(JSON.stringify(one))).join(', ')
  if (schema.const !== undefined) return code(JSON.stringify(schema.const))
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return [...new Set(choices.map(typeOf))].join(' or ')
  if (schema.type === 'array') return `list of ${typeOf(schema.items ?? {})}`
  if (schema.examples)
    return `${schema.type}, such as ${schema.examples.map((one) => code(JSON.stringify(one))).join(', ')}`
  return schema.type ?? 'any'
}

const code = (text: string) => `\`${escaped(text)}\``
const escaped = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

const notice = '<!-- Made by `npm run generate` from the source. Change it there. -->'

const configuration = `# Configuration

${notice}

One JSON document, comments allowed; or a \`.ts\`/\`.mjs\` file with \`export default defineConfig({...})\`. \`\${NAME}\` inside any
string is replaced from the environment (Workers: from the bindings). Durations and sizes are strings with a unit
(\`"30s"\`, \`"15m"\`, \`"10MB"\`). Unknown settings are mistakes. For an editor that helps, begin the document with
\`"$schema": "./node_modules/coatcheck/schema/coatcheck.schema.json"\`.

\`coatcheck check --config FILE\` tells every mistake at once.

| setting | type | default | meaning |
|---|---|---|---|
${settings(jsonSchema, '').join('\n')}
`

const errors = `# Errors

${notice}

Every answer that coatcheck itself makes for \`/auth\` and for routes, and that is an error, is a problem document
(\`application/problem+json\`, RFC 9457) with \`status\`, \`title\`, \`code\` and, where signing in helps, \`loginUrl\`. It carries the
header \`Coatcheck-Error: <code>\`; an answer of an upstream never does. A person who navigates into an error gets a page.

| status | code | title |
|---|---|---|
${Object.entries(errorCodes)
  .map(([name, { status, title }]) => `| ${status} | \`${name}\` | ${title} |`)
  .join('\n')}
`

const events = `# Log events and reasons

${notice}

Logs are one JSON object a line: \`level\`, \`time\` (UTC), \`event\`, and what belongs to the event. No event has a field that could
hold a token, a code, a cookie or text that came from outside. Where an event has a \`reason\` the line also has its
\`explanation\`. Where it is about a claim of an ID token the line may name it in \`claim\`: ${checkedClaims.map((name) => `\`${name}\``).join(', ')}.
Where an authorization server answered a sign-in with an error that is registered, it stands in \`oauthError\`:
${oauthErrors.map((name) => `\`${name}\``).join(', ')}.

## Events

| event | level |
|---|---|
${Object.entries(levels)
  .map(([name, level]) => `| \`${name}\` | ${level} |`)
  .join('\n')}

Every call that goes up, or was about to, is one \`request.forwarded\`, however it ends. Its \`status\` is that of the answer, or 499 (nginx's
word for it) when the browser left before there was one. On Workers a request may end with its browser, and nothing is left that could tell.

## Reasons

| reason | what it means |
|---|---|
${Object.entries(reasons)
  .map(([name, text]) => `| \`${name}\` | ${escaped(text)} |`)
  .join('\n')}
`

const doctor = `# What coatcheck doctor finds

${notice}

\`coatcheck doctor --config FILE\` does what \`check\` does, then looks at the live authorization servers, the store and the upstreams,
all at once, and says what will not work and how to mend it. It signs nobody in: it sends an authorization request with
\`prompt=none\`, a code and a refresh token that are deliberately wrong, a question about an access token that nobody has where routes
introspect, a logout without a token to \`publicUrl\`, one harmless request without a token to each upstream, and uses the store with names
that are forgotten after seconds. What the server says is judged by the code of \`serve\`; where \`serve\` would not go, nobody is asked.
Its output holds no secret, token or code.

It exits with 0 when there is no problem (warnings do not count), with 1 when there is one, and with 2 when the configuration has
mistakes. For CI, \`--json\` prints \`{ "ok", "problems", "warnings", "findings": [{ "severity", "code", "about", "what", "why", "change" }] }\`, or
\`{ "ok": false, "mistakes": [...] }\` for a configuration with mistakes. Codes are stable. What to set at the server of a known
vendor: [providers/](providers/README.md).

| severity | code | why it matters | what to change |
|---|---|---|---|
${Object.entries<Kind>(findingKinds)
  .filter(([, { severity }]) => severity !== 'ok')
  .map(
    ([name, { severity, why = '', change = 'It says so where it finds it.' }]) =>
      `| ${severity} | \`${name}\` | ${escaped(why)} | ${escaped(change)} |`,
  )
  .join('\n')}
`

const conformance = `# Conformance

${notice}

The OpenID Foundation tests relying parties with an authorization server that does one thing wrong at a time: its
[conformance suite](https://gitlab.com/openid/conformance-suite). This is not a certification. It is what coatcheck does when the
authorization server of its own tests does the same (\`test/conformance\`), as the last run of these tests on Node.js and on Workers had it:
\`npm run conformance\` plays them and writes this page, and every run of all tests fails that comes to anything else. The names are those of the suite's modules.
"Rejects" always means more here than there: no session, no cookie, no call of userinfo or of an API, an answer that says nothing
but \`login_failed\` (\`session_expired\` where a session ends with it), one log line with the precise reason, and no token or code in either.

${conformanceTables(plans, conformanceOutcomes())}`

/** Test files by the requirement that they mention in a title or a comment, in the order of their paths. */
function testsByRequirement(folders: readonly string[]): Map<string, string[]> {
  const files = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`),
  )
  const found = new Map<string, string[]>()
  for (const file of files.filter((one) => one.endsWith('.ts')).sort()) {
    for (const id of new Set(readFileSync(file, 'utf8').match(/\bR\d{3}\b/g))) {
      found.set(id, [...(found.get(id) ?? []), file])
    }
  }
  return found
}

/** A table for each area. @throws Error for a requirement that no test mentions, and for one that only a test knows. */
export function requirementTables(
  stated: Readonly<Record<string, Requirement>>,
  tests: ReadonlyMap<string, readonly string[]>,
): string {
  const untested = Object.keys(stated).filter((id) => !tests.has(id))
  if (untested.length > 0) throw new Error(`scripts/requirements.ts: no test mentions ${untested.join(', ')}`)
  for (const [id, files] of tests) {
    if (!Object.hasOwn(stated, id)) throw new Error(`${files.join(', ')}: ${id} is not in scripts/requirements.ts`)
  }
  const number = (id: string) => Number(id.slice(1))
  const ids = Object.keys(stated).sort((one, other) => number(one) - number(other))
  const link = (file: string) => `[${basename(file).replace(/(?:\.test|\.spec)?\.ts$/, '')}](${file})`
  const row = (id: string) => {
    const { requirement = '', source = '' } = stated[id] ?? {}
    return `| ${id} | ${escaped(requirement)} | ${escaped(source)} | ${tests.get(id)?.map(link).join(', ')} |`
  }
  return areas
    .map(([from, title], index): [string, string[]] => {
      const end = areas[index + 1]?.[0] ?? Number.POSITIVE_INFINITY
      return [title, ids.filter((id) => number(id) >= from && number(id) < end).map(row)]
    })
    .filter(([, rows]) => rows.length > 0)
    .map(
      ([title, rows]) =>
        `### ${title}\n\n| id | requirement | source | tests |\n|---|---|---|---|\n${rows.join('\n')}\n`,
    )
    .join('\n')
}

/** A page that is written by hand, with what stands between two markers made anew. */
function between(file: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->\n`]
  const [before, rest = ''] = readFileSync(file, 'utf8').split(start)
  const [, after] = rest.split(end)
  if (after === undefined) throw new Error(`${file}: has no place for ${name}`)
  return before + start + text + end + after
}

const requirementTable = requirementTables(requirements, testsByRequirement(['e2e', 'test']))

export const generated: Record<string, string> = {
  'schema/coatcheck.schema.json': `${JSON.stringify(jsonSchema, undefined, 2)}\n`,
  'docs/configuration.md': configuration,
  'docs/doctor.md': doctor,
  'docs/conformance.md': conformance,
  'docs/errors.md': errors,
  'docs/events.md': events,
  'SECURITY.md': between('SECURITY.md', 'requirements', `\n${requirementTable}\n`),
}

async function main(): Promise<void> {
  const check = process.argv.includes('--check')
  for (const [file, content] of Object.entries(generated)) {
    if ((await readFile(file, 'utf8').catch(() => '')) === content) continue
    if (check) {
      console.error(`${file} is not up to date: run \`npm run generate\``)
      process.exitCode = 1
      continue
    }
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
    console.log(`wrote ${file}`)
  }
}

if (import.meta.main) await main()
