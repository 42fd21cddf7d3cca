// What pages and their parts are made with.
import type { Session, SignedIn } from './session.ts'

/** A part of a page. `stop` ends whatever it has running. */
export interface Part {
  readonly node: HTMLElement
  stop?(): void
}

/** What a page for somebody who is signed in may use. */
export interface PageContext {
  readonly session: Session
  readonly info: SignedIn
  /** Goes to another page of the application. */
  go(path: string): void
}
