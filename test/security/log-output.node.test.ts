// Attack: a log that is not what it seems: lines of somebody else, secrets, or something that no machine can read.
// R630 R631
import { describe, expect, test } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.ts'
import { createBrowser } from '../support/browser.ts'
import { coatcheck, fileWith } from '../support/command.ts'
import { closeAfterTest, freePort } from '../support/http-server.ts'
import { ask, converse, fromPage, head } from '../support/raw.ts'
import { startUpstream } from '../support/upstream.ts'

const injection = [
  '%0a{"event":"forged"}',
  '\x1b[31mFORGED',
  '%1b%5b31mFORGED',
  '${jndi:ldap://FORGED}',
  '<script>FORGED</script>',
]

describe('R630 R631 The log', () => {
  test('on stdout: one JSON object a line, with the time in UTC and a level, and nothing on stderr', async () => {
    const as = closeAfterTest(await startAuthorizationServer())
    const api = closeAfterTest(await startUpstream())
    const port = await freePort()
    const config = {
      publicUrl: `http://app.localhost:${port}`,
      listen: { port },
      session: { keys: ['${KEY}'] },
      providers: [
        {
          id: 'main',
          issuer: as.issuer,
          clientId: as.clientId,
          clientAuth: { method: 'client_secret_basic', secret: '${SECRET}' },
          allowInsecureRequests: true,
        },
      ],
      routes: [{ path: '/api', upstream: api.url, token: 'user' }],
    }
    const file = await fileWith(JSON.stringify(config))
    const key = `1:${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')}`
    const run = coatcheck(['serve', '--config', file], { KEY: key, SECRET: as.clientSecret })
    await expect.poll(() => run.stdout(), { timeout: 15_000 }).toContain('server.listening')
    const url = `http://127.0.0.1:${port}`
    const user = createBrowser(url, config.publicUrl)
    await user.signIn()
    for (const text of injection) await ask(url, `GET /api/${encodeURI(text)}`, [`User-Agent: ${text}`]).catch(() => {})
    await converse(url, head('GET /api/x', [...fromPage, 'Connection: close']).replace('GET', 'G\x00T')).catch(() => [])
    await user.fetch('/auth/logout', { method: 'POST' })
    await expect.poll(() => run.stdout()).toContain('session.ended')
    run.kill('SIGTERM')
    expect(await run.exit).toBe(0)
    for (const line of run.stdout().trim().split('\n')) {
      expect(JSON.parse(line)).toMatchObject({
        event: expect.stringMatching(/^[a-z]+\.[a-z_]+$/),
        level: expect.stringMatching(/^(?:info|warn|error)$/),
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      })
    }
    expect(run.stderr()).toBe('')
    const printed = run.stdout()
    for (const secret of ['CANARY', key.slice(2), as.clientSecret, 'FORGED', '\u001b', ...user.cookies.values()])
      expect(printed).not.toContain(secret)
  })
})
