// Who can sign in to the demo. The passwords are meant to be read.

export interface Account {
  /** `sub` in tokens. */
  readonly id: string
  readonly username: string
  readonly password: string
  readonly name: string
  readonly email: string
}

export const accounts: readonly Account[] = [
  { id: 'user-1', username: 'alice', password: 'wonderland', name: 'Alice Liddell', email: 'alice@example.com' },
  { id: 'user-2', username: 'bob', password: 'lighthouse', name: 'Bob Keeper', email: 'bob@example.com' },
]
