// Cookies as browsers and proxies treat them: names, attributes, pieces, and the budget of bytes.
import type { Config } from '../config.ts'

/** No `Set-Cookie` is longer: browsers drop longer ones without a word (RFC 6265bis, section 5.6). Bytes. */
export const longestSetCookie = 4_096
/** All pieces of a session together, names included. Beyond this common proxies refuse the request header. Bytes. */
export const sessionBudget = 7_500
/** More pieces than this are never written, and never read. */
const mostPieces = 3

/** What a request carries of a session. */
export interface SessionCookies {
  /** Value of the session cookie itself. */
  readonly ticket: string | undefined
  /** The pieces `.1`, `.2` ... joined; `undefined` when there is none or one is missing. */
  readonly holding: string | undefined
  /** Names of all session cookies the request has, usable or not. */
  readonly names: readonly string[]
}

export interface Cookies {
  /** Finds the session in a `Cookie` header. Of several cookies with one name the first counts. */
  readSession(header: string | undefined): SessionCookies
  /** `Set-Cookie` for a ticket; `maxAge` in seconds. */
  writeTicket(seal: string, maxAge: number): string
  /** `Set-Cookie`s for a holding, in as many pieces as it needs; `maxAge` in seconds. */
  writeHolding(seal: string, maxAge: number): string[]
  /** Bytes that a session of these two lengths takes in a `Cookie` header. */
  sizeOf(ticketLength: number, holdingLength: number): number
  /** `Set-Cookie`s that delete the pieces of a holding that the request had. */
  clearHolding(names: readonly string[]): string[]
  /** `Set-Cookie`s that delete the session, and every piece the request had. */
  clearSession(names: readonly string[]): string[]
  /** The sealed sign-ins under way. */
  readLogin(header: string | undefined): string | undefined
  writeLogin(seal: string, maxAge: number): string
  clearLogin(): string
}

/**
 * @param config names and attributes come from `publicUrl` and `session`: on https `__Host-Http-` (layered cookies,
 * RFC 10017 section 6.1.3.2), which neither scripts nor sibling hosts can set; plain names on http loopback.
 */
export function createCookies(config: Pick<Config, 'publicUrl' | 'session'>): Cookies {
  const secure = config.publicUrl.startsWith('https:')
  const base = (secure ? '__Host-Http-' : '') + config.session.cookieName
  const login = `${base}-login`
  const common = `; Path=/; HttpOnly${secure ? '; Secure' : ''}`
  const { sameSite } = config.session
  const sessionAttributes = `${common}; SameSite=${sameSite}${sameSite === 'None' ? '; Partitioned' : ''}`
  const loginAttributes = `${common}; SameSite=Lax`
  const gone = '; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT'
  const pieceLength = longestSetCookie - `${base}.1=9.${sessionAttributes}; Max-Age=99999999`.length

  function readSession(header: string | undefined): SessionCookies {
    let ticket: string | undefined
    const pieces: (string | undefined)[] = []
    const names: string[] = []
    for (const [name, value] of cookiesNamed(header, base)) {
      if (name === login) continue
      const index = name.length === base.length ? 0 : pieceIndex(name.slice(base.length))
      if (index === undefined) continue
      names.push(name)
      if (index === 0) ticket ??= value
      else pieces[index] ??= value
    }
    return { ticket, holding: joined(pieces), names }
  }

  const deleted = (name: string) => `${name}=${sessionAttributes}${gone}`

  function split(seal: string): string[] {
    const count = Math.ceil(seal.length / pieceLength)
    return Array.from({ length: count }, (_, index) => seal.slice(index * pieceLength, (index + 1) * pieceLength))
  }

  return {
    readSession,
    writeTicket: (seal, maxAge) => `${base}=${seal}; Max-Age=${maxAge}${sessionAttributes}`,
    writeHolding(seal, maxAge) {
      const pieces = split(seal)
      // The first piece says how many there are, so that a piece left over from a longer holding is not read.
      return pieces.map((piece, index) => {
        const value = index === 0 ? `${pieces.length}.${piece}` : piece
        return `${base}.${index + 1}=${value}; Max-Age=${maxAge}${sessionAttributes}`
      })
    },
    sizeOf(ticketLength, holdingLength) {
      const pieces = Math.ceil(holdingLength / pieceLength)
      return base.length + 1 + ticketLength + (holdingLength > 0 ? 2 : 0) + pieces * (base.length + 5) + holdingLength
    },
    clearHolding: (names) => names.filter((name) => name !== base).map(deleted),
    clearSession: (names) => [...new Set([base, ...names])].map(deleted),
    readLogin: (header) => cookiesNamed(header, login).find(([name]) => name === login)?.[1],
    writeLogin: (seal, maxAge) => `${login}=${seal}; Max-Age=${maxAge}${loginAttributes}`,
    clearLogin: () => `${login}=${loginAttributes}${gone}`,
  }
}

/** `.1` is 1; anything that is not a piece is `undefined`. */
function pieceIndex(suffix: string): number | undefined {
  const digit = suffix.length === 2 && suffix.startsWith('.') ? suffix.charCodeAt(1) - 48 : 0
  return digit >= 1 && digit <= mostPieces ? digit : undefined
}

function joined(pieces: readonly (string | undefined)[]): string | undefined {
  const first = pieces[1]
  if (first === undefined || first.charCodeAt(1) !== 46) return undefined
  const count = first.charCodeAt(0) - 48
  if (count === 1) return first.slice(2)
  const all = [first.slice(2), ...pieces.slice(2, count + 1)]
  return all.length === count && all.every((piece) => piece !== undefined) ? all.join('') : undefined
}

/** The cookies of a header whose name begins with `prefix`, in order. Exact bytes: nothing is decoded. */
function cookiesNamed(header: string | undefined, prefix: string): [name: string, value: string][] {
  const found: [string, string][] = []
  if (header === undefined) return found
  let end = 0
  for (let at = header.indexOf(prefix); at !== -1; at = header.indexOf(prefix, end)) {
    const semicolon = header.indexOf(';', at)
    end = semicolon === -1 ? header.length : semicolon
    if (!startsPair(header, at)) continue
    const equals = header.indexOf('=', at)
    if (equals !== -1 && equals < end) found.push([header.slice(at, equals), header.slice(equals + 1, end).trimEnd()])
  }
  return found
}

/** Whether a cookie pair begins here: at the start, or after a semicolon and blanks. */
function startsPair(header: string, at: number): boolean {
  let before = at - 1
  while (before >= 0 && (header[before] === ' ' || header[before] === '\t')) before--
  return before < 0 || header[before] === ';'
}
