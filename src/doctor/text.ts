// A report as a person reads it in a terminal: without colours, the worst first.
import type { Report } from '../doctor.ts'
import type { Finding } from './findings.ts'
import type { Severity } from './kinds.ts'

const order: readonly Severity[] = ['problem', 'warning', 'ok']
const marks: Readonly<Record<Severity, string>> = { problem: 'PROBLEM', warning: 'warning', ok: 'ok     ' }
/** Where lines are broken, in characters. */
const width = 100

export function textOf({ problems, warnings, findings }: Report): string {
  const sorted = order.flatMap((severity) => findings.filter((one) => one.severity === severity))
  return `${sorted.map(paragraph).join('')}\n${summary(problems, warnings)}\n`
}

function paragraph({ severity, code, about, what, why, change }: Finding): string {
  const lines = [`${marks[severity]}  ${about}: ${what}`]
  if (severity !== 'ok') {
    if (why !== undefined) lines.push(`Why: ${why}`)
    if (change !== undefined) lines.push(`Change: ${change}`)
    lines.push(`(${code})`)
  }
  const text = lines.map((line, index) => wrapped(line, index === 0 ? '         ' : '           ', index > 0)).join('')
  return severity === 'ok' ? text : `${text}\n`
}

/** Lines no longer than the terminal is likely to be, as far as words allow. */
function wrapped(text: string, indent: string, indentFirst: boolean): string {
  let line = indentFirst ? '         ' : ''
  let lines = ''
  for (const word of text.split(/(?<=\S) /)) {
    if (line.trim() !== '' && line.length + word.length + 1 > width) {
      lines += `${line}\n`
      line = indent
    }
    line += line === '' || line.endsWith(' ') ? word : ` ${word}`
  }
  return `${lines}${line}\n`
}

function summary(problems: number, warnings: number): string {
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`
  if (problems === 0 && warnings === 0) return 'All is well.'
  return `${count(problems, 'problem')}, ${count(warnings, 'warning')}.`
}
