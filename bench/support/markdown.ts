// The place in a RESULTS file where the last run stands.
import { readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'

const markers = ['<!-- results -->', '<!-- /results -->'] as const

/** Replaces the result that one of the RESULTS files shows. */
export async function replaceResult(file: URL, text: string): Promise<void> {
  const all = await readFile(file, 'utf8')
  const [from, to] = markers.map((marker) => all.indexOf(marker))
  if (from === undefined || to === undefined || from === -1 || to < from)
    throw new Error(`${basename(file.pathname)} has no place between ${markers.join(' and ')}`)
  await writeFile(file, `${all.slice(0, from + markers[0].length)}\n\n${text.trim()}\n\n${all.slice(to)}`)
}
