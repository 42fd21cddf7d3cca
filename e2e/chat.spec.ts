// A language model's answer, letter by letter into the page.
import { expect, openSignedOut, signIn, test } from './ai-world.ts'

const delta = (content: string) => JSON.stringify({ choices: [{ index: 0, delta: { content } }] })
const words = ['You', ' keep', ' a', ' ticket', '.']

test('shows each delta of a chat completion before the next is sent', async ({ page, world }) => {
  await signIn(page)
  const chat = await page.evaluateHandle(() => assistant.chat('What is a coat check?'))
  await expect.poll(() => world.model.questions.length).toBe(1)
  const [question] = world.model.questions
  const shown = page.locator('main p')
  for (const [index, word] of words.entries()) {
    question?.say(delta(word))
    await expect(shown).toHaveText(words.slice(0, index + 1).join(''))
  }
  question?.say('[DONE]')
  expect(await chat.evaluate(({ done }) => done)).toBe('complete')
  expect(question?.body).toMatchObject({ stream: true, messages: [{ content: 'What is a coat check?' }] })
  expect(question?.headers.authorization).toBe(`Bearer ${world.apiKey}`)
  expect(question?.headers).not.toHaveProperty('cookie')
})

test('spends nothing for a page on which nobody is signed in', async ({ page, world }) => {
  await openSignedOut(page)
  expect(await page.evaluate(() => assistant.chat('Hello?').done.catch(() => 'refused'))).toBe('refused')
  expect(await page.evaluate(() => assistant.signedOut)).toEqual(['session_required'])
  expect(world.model.questions).toEqual([])
})

test('stops the model when the page gives up', async ({ page, world }) => {
  await signIn(page)
  const chat = await page.evaluateHandle(() => {
    const { done, abort } = assistant.chat('Tell me everything.')
    return { outcome: done.catch(({ name }) => name as string), abort }
  })
  await expect.poll(() => world.model.questions).toMatchObject([{ isOpen: true }])
  world.model.questions[0]?.say(delta('Well'))
  await expect(page.locator('main p')).toHaveText('Well')
  await chat.evaluate(({ abort }) => abort())
  await expect.poll(() => world.model.questions).toMatchObject([{ isOpen: false }])
  expect(await chat.evaluate(({ outcome }) => outcome)).toBe('AbortError')
})

test('stops the model when the page is left', async ({ page, world }) => {
  await signIn(page)
  await page.evaluate(() => void assistant.chat('Tell me everything.'))
  await expect.poll(() => world.model.questions).toMatchObject([{ isOpen: true }])
  await page.goto('about:blank')
  await expect.poll(() => world.model.questions).toMatchObject([{ isOpen: false }])
})

test('EventSource has each event as it is sent, and is told when the session is over', async ({ page, world }) => {
  await signIn(page)
  const source = await page.evaluateHandle(() => assistant.listen())
  await expect.poll(() => world.model.questions.length).toBe(1)
  const [stream] = world.model.questions
  for (const [index, word] of words.entries()) {
    stream?.say(word)
    await expect(page.locator('main p')).toHaveText(words.slice(0, index + 1).join(''))
  }
  expect(stream?.headers.accept).toBe('text/event-stream')

  await page.evaluate(() => fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } }))
  await expect.poll(() => stream?.isOpen).toBe(false)
  // It tries once more, is answered 401, and lets it be.
  await expect.poll(() => source.evaluate(({ readyState, CLOSED }) => readyState === CLOSED)).toBe(true)
  expect(world.model.questions).toHaveLength(1)
})
