// Abandoned calls: browsers that leave while their token is being renewed, to use up what other users need
// (R049, R516, R530; ASVS 13.1.3 and 13.2.6).
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { head, openConnection } from '../support/raw.ts'
import { passed } from '../support/time.ts'

describe('R530 R049 three hundred calls that are abandoned during one refresh', () => {
  test('hold no connection to the API: everybody else is served', async () => {
    const world = await startWorld(({ as }) => {
      as.behaviour.expiresIn = 0.1
      return {}
    })
    const attacker = world.browser()
    await attacker.signIn()
    world.as.behaviour.expiresIn = 300
    const bystander = world.browser()
    await bystander.signIn()
    await passed(120)

    let asked = () => {}
    const arrived = new Promise<void>((resolve) => {
      asked = resolve
    })
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    world.as.behaviour.faults['/token'] = async () => {
      asked()
      await released
      return undefined
    }
    const page = [`Cookie: ${attacker.cookieHeader()}`, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors']
    const connections = Array.from({ length: 300 }, () => openConnection(world.url))
    for (const connection of connections) connection.send(head('GET /api/orders', page))
    await arrived
    await passed(200)
    for (const connection of connections) connection.close()
    await passed(200)
    release()
    await passed(200)

    const outcome = await Promise.race([
      bystander.fetch('/api/orders').then(({ status }) => status),
      passed(5_000).then(() => 'no answer'),
    ])
    expect(outcome).toBe(200)
    expect((await attacker.fetch('/api/orders')).status).toBe(200)
    expect(world.as.reuses).toEqual([])
  })
})
