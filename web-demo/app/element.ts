// Makes DOM elements. Text stays text: nothing here parses HTML.

type Child = Node | string | undefined | false

/** Attributes by name (`true` for one without a value), and listeners as `onclick` and the like. */
interface Attributes {
  [name: string]: string | number | boolean | ((event: Event) => void) | undefined
}

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name.slice(2), value)
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : String(value))
  }
  made.append(...children.filter((child) => child !== undefined && child !== false))
  return made
}
