// `npm run demo`, as somebody meets it who has just cloned the project.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'playwright/test'
import { freePort, listen } from '../web-demo/ports.ts'
import { signIn } from './demo.ts'

// One after the other: the other parts of the demo want their usual ports.
test.describe.configure({ mode: 'default' })

/** Starts the command; what it prints is collected. */
function runDemo(env: Record<string, string>) {
  const child = spawn(process.execPath, ['web-demo/demo.ts'], { env: { ...process.env, ...env } })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
  }
  return { child, printed: () => printed, ended: once(child, 'exit').then(([code]) => code as number | null) }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`says where to go, and ends cleanly on ${signal} in the middle of a stream`, async ({ page }) => {
    const port = await freePort()
    const demo = runDemo({ PORT: String(port) })
    await expect.poll(demo.printed).toContain('Ctrl-C ends everything')
    expect(demo.printed()).toContain(`http://localhost:${port}`)
    expect(demo.printed()).toContain('alice / wonderland')
    expect(demo.printed()).toContain('bob / lighthouse')
    expect(demo.printed()).toContain('Not for production')

    await page.goto(`http://localhost:${port}/`)
    await signIn(page, { path: `http://localhost:${port}/` })
    await page.getByRole('button', { name: 'Start the clock' }).click()
    await expect(page.getByText(/^1 event$|^2 events$/)).toBeVisible()
    expect(demo.printed()).toContain('login.completed')

    demo.child.kill(signal)
    expect(await demo.ended).toBe(0)
    await expect(page.getByText('The server closed the stream')).toBeVisible()
  })
}

test('ends with a message when the port that was asked for is taken', async () => {
  const taken = await listen(0, () => {})
  const demo = runDemo({ PORT: String(taken.port) })
  expect(await demo.ended).toBe(1)
  expect(demo.printed()).toContain(`port ${taken.port} is taken, and PORT asks for it`)
  await taken.close()
})
