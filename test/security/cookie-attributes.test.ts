// Attack: cookies that a script, a sibling host or plain http could read or set, because one of them is not like the rest.
// R007 R008 R009 R010 R205 R206 R210 R214
import { describe, expect, test } from 'vitest'
import { startWorld, type World } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'

/** Every `Set-Cookie` of a life with a refresh, errors, two sign-ins, and a sign-out. */
async function everySetCookie({ api, as, browser }: World): Promise<string[]> {
  const user = browser()
  const lines: string[] = []
  const collect = ({ setCookie }: { setCookie: string[] }) => lines.push(...setCookie)
  as.behaviour.accessTokenPadding = 2_500
  collect(await user.navigate('/auth/login?returnTo=/x'))
  collect(await user.signIn())
  // Refused once, so that it is refreshed.
  const honest = api.answer
  api.answer = (_, response) => {
    api.answer = honest
    response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
    response.end()
  }
  collect(await user.fetch('/api/x'))
  collect(await user.fetch('/auth/session', { method: 'POST' }))
  collect(await user.signIn())
  collect(await user.navigate('/auth/callback?code=x&state=y'))
  const broken = user.cookieHeader().replaceAll('*', '.')
  collect(await user.send('/api/x', { headers: { cookie: broken, 'x-csrf': '1' } }))
  collect(await user.send('/auth/session', { headers: { cookie: broken } }))
  as.behaviour.callback = (parameters) => parameters.set('state', 'wrong')
  collect(await user.signIn())
  as.behaviour.callback = (parameters) => parameters.set('iss', 'https://evil.test')
  collect(await user.signIn())
  collect(await user.fetch('/auth/logout', { method: 'POST' }))
  return lines
}

const kinds = (lines: readonly string[]) => [...new Set(lines.map((line) => line.slice(0, line.indexOf('='))))].sort()

describe('Every Set-Cookie of every endpoint', () => {
  test('R007 R008 R009 R010 R206 on https is HttpOnly, Secure, Path=/, SameSite, without Domain, and __Host-Http-', async () => {
    const lines = await everySetCookie(await startWorld({ publicUrl: 'https://app.example' }))
    const name = '__Host-Http-coatcheck'
    expect(kinds(lines)).toEqual([name, `${name}-login`, `${name}.1`, `${name}.2`])
    const session = new RegExp(
      `^${name}(?:\\.\\d)?=[^;]*(?:; Max-Age=\\d+)?; Path=/; HttpOnly; Secure; SameSite=Strict`,
    )
    const login = new RegExp(`^${name}-login=[^;]*(?:; Max-Age=\\d+)?; Path=/; HttpOnly; Secure; SameSite=Lax`)
    const end = /SameSite=\w+(?:; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT)?$/
    expectNone(lines.filter((line) => !(line.includes('-login=') ? login : session).test(line) || !end.test(line)))
    expectNone(
      lines.filter((line) => /domain=|partitioned/i.test(line)),
      'Domain or Partitioned',
    )
  })

  test('R007 R008 R009 on http loopback is the same but for Secure and the prefix', async () => {
    const lines = await everySetCookie(await startWorld())
    expect(kinds(lines)).toEqual(['coatcheck', 'coatcheck-login', 'coatcheck.1', 'coatcheck.2'])
    const good = /^coatcheck(?:\.\d|-login)?=[^;]*(?:; Max-Age=\d+)?; Path=\/; HttpOnly; SameSite=(?:Strict|Lax)(?:;|$)/
    expectNone(lines.filter((line) => !good.test(line)))
    expectNone(
      lines.filter((line) => line.includes('-login=') !== line.includes('SameSite=Lax')),
      'SameSite',
    )
  })

  test('R210 R214 SameSite=None comes only with embedding, partitioned, and the login cookie stays Lax', async () => {
    const world = await startWorld(({ config }) => ({
      publicUrl: 'https://app.example',
      session: { ...config.session, sameSite: 'None', embedding: true },
    }))
    const lines = await everySetCookie(world)
    expectNone(
      lines.filter((line) => line.includes('-login=') !== line.includes('SameSite=Lax')),
      'SameSite',
    )
    const session = lines.filter((line) => !line.includes('-login='))
    expectNone(session.filter((line) => !/; Secure; SameSite=None; Partitioned/.test(line)))
  })
})

describe('R205 Cookies that only look like ours', () => {
  test('are not read, not counted and not deleted, on https', async () => {
    const { browser, api } = await startWorld({ publicUrl: 'https://app.example' })
    const user = browser()
    await user.signIn()
    const value = (name: string) => user.cookies.get(name) ?? ''
    const [ticket, holding] = [value('__Host-Http-coatcheck'), value('__Host-Http-coatcheck.1')]
    const renamed = [
      ...[
        'coatcheck',
        '__host-http-coatcheck',
        '__HOST-HTTP-COATCHECK',
        '__Host-coatcheck',
        '__Secure-coatcheck',
        '__Http-coatcheck',
      ],
      ...[
        'x__Host-Http-coatcheck',
        '__Host-Http-coatchecks',
        '__Host-Http-Coatcheck',
        '%5F_Host-Http-coatcheck',
        '__Host-Http-coatcheck ',
      ],
    ]
    const wrong: string[] = []
    for (const name of renamed) {
      const headers = { cookie: `${name}=${ticket}; ${name}.1=${holding}`, 'x-csrf': '1' }
      const answer = await user.send('/api/x', { headers })
      if (answer.status !== 401) wrong.push(`${name} -> ${answer.status}`)
      if (answer.setCookie.some((line) => !line.startsWith('__Host-Http-coatcheck=')))
        wrong.push(`${name} -> deletes it`)
    }
    expectNone(wrong)
    expect(api.requests).toEqual([])
  })

  test('beside the real ones change nothing', async () => {
    const { browser } = await startWorld()
    const user = browser()
    await user.signIn()
    const strangers = [
      ...[
        'coatcheck.9=x',
        'coatcheck.0=x',
        'coatcheck.1x=x',
        'coatcheck.01=x',
        'coatcheck.-1=x',
        'coatcheck.=x',
        'coatcheck.1.2=x',
      ],
      ...[
        'coatcheck.11=x',
        'coatcheck-=x',
        'coatcheck=',
        'coatcheck.2=x',
        'coatcheck.3=x',
        'xcoatcheck=x',
        'coatcheck',
        '=coatcheck',
      ],
      ...[
        'coatcheck.٣=x',
        'a=coatcheck=x',
        'coatcheck-login.1=x',
        'Coatcheck=x',
        '"coatcheck"=x',
        'coatcheck =x',
        'b="; coatcheck=x"',
      ],
    ]
    const wrong: string[] = []
    for (const stranger of strangers) {
      const cookie = `${user.cookieHeader()}; ${stranger}`
      const answer = await user.send('/api/x', {
        headers: { cookie: Buffer.from(cookie).toString('latin1'), 'x-csrf': '1' },
      })
      if (answer.status !== 200 || answer.setCookie.length > 0) wrong.push(`${stranger} -> ${answer.status}`)
    }
    expectNone(wrong)
  })
})
