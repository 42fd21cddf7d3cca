// How a path may be read by servers that read it in their own ways.

/**
 * The path as the most gullible upstream would read it: decoded three times over, overlong and compatibility characters
 * taken for what they look like, backslashes as slashes, no path parameters, slashes merged, dot segments resolved.
 */
export function worstReading(target: string): string {
  let path = target.split('?')[0] ?? ''
  for (let round = 0; round < 3; round++) path = path.replace(/%([0-9a-f]{2})/gi, (_, hex) => unescape(`%${hex}`))
  const overlong = path.replace(/\xc0\xae|\xe0\x80\xae/g, '.').replace(/\xc0\xaf|\xe0\x80\xaf/g, '/')
  path = Buffer.from(overlong, 'latin1').toString().normalize('NFKC')
  const segments: string[] = []
  for (const segment of path.replaceAll('\\', '/').replaceAll('\0', '').split('/')) {
    const [name = ''] = segment.split(';')
    if (name === '..') segments.pop()
    else if (name !== '' && name !== '.') segments.push(name)
  }
  return `/${segments.join('/')}`
}

/** Whether a path is the prefix, or below it. */
export const isInside = (prefix: string, path: string): boolean => path === prefix || path.startsWith(`${prefix}/`)
