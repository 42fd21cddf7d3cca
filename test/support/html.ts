// What a person could do with a page of coatcheck: the addresses of its links, and whether anything in it is not text.

const entities: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" }

/** The addresses of all links of a page, as a browser would read them. */
export function links(page: string): string[] {
  return [...page.matchAll(/\shref="([^"]*)"/g)].map(([, address = '']) =>
    address.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => entities[entity] ?? entity),
  )
}

/** Names of the elements of a page, each once, sorted. */
export function elements(page: string): string[] {
  return [...new Set([...page.matchAll(/<([a-z][^\s/>]*)/gi)].map(([, name = '']) => name.toLowerCase()))].sort()
}
