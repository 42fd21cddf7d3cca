// What the two handshakes of a WebSocket have to do with each other (RFC 6455, section 4). Pure.
import { CoatcheckError } from '../errors.ts'
import { type HeaderList, type HeaderRecord, headerText } from '../platform.ts'

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * The subprotocols that a handshake offers.
 * @throws CoatcheckError `bad_request` for what is no handshake, `upgrade_required` for one of another version
 */
export function offeredProtocols(headers: HeaderRecord): readonly string[] {
  const offer = headerText(headers, 'sec-websocket-protocol')
  const protocols = offer === undefined ? [] : offer.split(/[ \t]*,[ \t]*/)
  const version = headerText(headers, 'sec-websocket-version')
  const isProper =
    version !== undefined &&
    /^[+/0-9A-Za-z]{22}==$/.test(headerText(headers, 'sec-websocket-key') ?? '') &&
    protocols.every((protocol) => token.test(protocol)) &&
    new Set(protocols).size === protocols.length
  if (!isProper) throw new CoatcheckError('bad_request', 'handshake_malformed')
  if (version !== '13') throw new CoatcheckError('upgrade_required', 'handshake_malformed')
  return protocols
}

/** Whether the upstream chose a subprotocol that it may choose: one of those that were offered, or none. */
export function isAcceptable(answer: HeaderRecord, offered: readonly string[]): boolean {
  const chosen = headerText(answer, 'sec-websocket-protocol')
  return chosen === undefined || offered.includes(chosen)
}

/** Of the headers for the browser, those that belong on a 101: no page ever sees any other. */
export function handshakeCookies(headers: HeaderList): [name: string, value: string][] {
  return pairs(headers).filter(([name]) => name === 'set-cookie' || name === 'strict-transport-security')
}

/** The headers of a refusal, without those that speak of a body: it is passed on without. */
export function withoutBody(headers: HeaderList): HeaderList {
  return pairs(headers)
    .filter(([name]) => !name.startsWith('content-') || name === 'content-security-policy')
    .flat()
}

function pairs(headers: HeaderList): [name: string, value: string][] {
  const all: [string, string][] = []
  for (let at = 0; at < headers.length; at += 2) all.push([headers[at] ?? '', headers[at + 1] ?? ''])
  return all
}
