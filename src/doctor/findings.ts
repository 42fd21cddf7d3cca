// One finding: what was seen, with what its kind says about it.
import { findingKinds, type Kind, type Severity } from './kinds.ts'

export type FindingCode = keyof typeof findingKinds

/** One thing that was looked at. */
export interface Finding {
  readonly severity: Severity
  readonly code: FindingCode
  /** What of the configuration it is about, such as `provider main` or `route /api`. */
  readonly about: string
  /** What was found. Holds no secret, token or code, and no text that came from outside as it came. */
  readonly what: string
  readonly why?: string
  readonly change?: string
}

/** @param change replaces what the kind of finding says to change. */
export function finding(code: FindingCode, about: string, what: string, change?: string): Finding {
  const kind: Kind = findingKinds[code]
  const advice = change ?? kind.change
  return {
    severity: kind.severity,
    code,
    about,
    what,
    ...(kind.why !== undefined && { why: kind.why }),
    ...(advice !== undefined && { change: advice }),
  }
}
