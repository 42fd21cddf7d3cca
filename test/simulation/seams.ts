// Where a variant of the code may be put in the place of the real one: around the store of every instance.
import type { Store } from '../../src/stores/store.ts'

export interface Seams {
  store(inner: Store): Store
}

/** The code as it is. */
export const asItIs: Seams = { store: (inner) => inner }

/** A store of which some methods are others. */
export const withStore = (change: (inner: Store) => Partial<Store>): Seams => ({
  store: (inner) => ({ ...inner, ...change(inner) }),
})
