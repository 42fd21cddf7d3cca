// What browsers and the authorization server do, step by step.

import { type Browser, fromPage, navigation, send } from './browser.ts'
import type { KnownSession } from './model.ts'
import type { Action, Fate } from './plan.ts'
import { issuer } from './published.ts'
import type { World } from './world.ts'

const soon: Fate = { delay: 5, isLost: false }

/** A logout token that was sent before: it counts once. */
interface SentToken {
  readonly jwt: string
  accepted: boolean
}

export type Actors = ReturnType<typeof createActors>

export function createActors(world: World, browsers: readonly Browser[]) {
  const { model, judge, server, store, clock, note } = world
  const logoutTokens: SentToken[] = []

  const browserOf = (number: number) => {
    const found = browsers[number]
    if (!found) throw new RangeError('There is no such browser')
    return found
  }

  const latestOf = (browser: number) => model.sessions.findLast((session) => session.browser === browser)
  const users = ['alice', 'bob']

  /** From the login to the callback, which some browsers send twice. Whether somebody is signed in then. */
  async function signIn({ browser, place, other, fate, twice, user }: Extract<Action, { do: 'sign in' }>) {
    const who = browserOf(browser)
    const started = await send(world, who, place, { path: '/auth/login', headers: navigation }, soon)
    const location = started?.answer.headers.get('location')
    if (!location?.startsWith(issuer)) return false
    const { callback, grant } = server.authorize(location, users[user] ?? 'alice')
    note(`B${browser}: ${grant.user} signs in at the authorization server, ${grant.name}`)
    const replaced = new Set<KnownSession>()
    const message = { path: callback.pathname + callback.search, headers: navigation }
    const finish = (at: number) =>
      send(world, who, at, message, fate, {
        reached({ session }) {
          for (const one of [session, latestOf(browser)]) {
            if (one === undefined || one.grant === grant) continue
            replaced.add(one)
            if (one === session) judge.ending(one, 'replaced')
          }
        },
        async left(request, outcome) {
          const { ticket } = outcome.sets
          if (!outcome.setsTicket || !ticket || outcome.status !== 303) return
          model.sessions.push(await sessionOf(ticket, grant, browser))
          if (request.session) judge.acknowledged(request, [request.session])
        },
      }).then((result) => {
        if (result?.outcome.setsTicket) {
          who.epoch++
          model.overtaken.delete(browser)
        }
        return result
      })
    const results = await Promise.all(twice ? [finish(other), finish(place)] : [finish(other)])
    return results.some((result) => result?.outcome.setsTicket === true)
  }

  async function sessionOf(
    { id, half, createdAt }: { id: string; half: string; createdAt: number },
    grant: KnownSession['grant'],
    browser: number,
  ): Promise<KnownSession> {
    const tokens = { accessToken: '', scope: '', expiresAt: 0, refreshAt: 0 }
    const holding = { id, generation: 1, provider: 'main', issuer, subject: grant.user, claims: {}, tokens }
    const { family, marks } = await model.oracle.names({ ...holding, providerSession: grant.sid })
    const name = `s${model.sessions.length + 1}`
    note(`${name} begins, of ${grant.user} (${grant.name}), ${family}`)
    return {
      ...{ name, id, half, family, marks, browser, grant, createdAt, startedAt: clock.now() },
      ...{ knownBy: new Map(), offered: new Set(), storedGeneration: 1 },
    }
  }

  /** Ends something by a request of its own, and notes for whom that counts. */
  function sendEnd(action: { browser: number; place: number; fate: Fate }, why: 'logout' | 'ended everywhere') {
    const isLogout = why === 'logout'
    let meant: KnownSession[] = []
    const message = isLogout
      ? { method: 'POST', path: '/auth/logout', headers: { ...fromPage, accept: 'application/json' } }
      : { method: 'DELETE', path: '/auth/sessions', headers: fromPage }
    return send(world, browserOf(action.browser), action.place, message, action.fate, {
      reached({ session, brought }) {
        // A late answer may have put the holding of an older session beside this ticket: no session is there to be ended.
        const isMixed = model.config.session.storage === 'cookie' && brought.holding === undefined
        if (!session || isMixed) return
        const all = model.sessions.filter(({ grant }) => grant.user === session.grant.user)
        meant = isLogout ? [session] : all
        for (const one of meant) judge.ending(one, why)
      },
      left(request, { status }) {
        if (status !== 200) return
        judge.acknowledged(request, meant)
        const window = model.config.refresh.replayWindow
        for (const one of meant) {
          const forgotten = [...model.successorAt].some(
            ([key, time]) => key.startsWith(one.family) && time + window <= clock.now(),
          )
          if (forgotten || store.failedAt(request.instance) >= request.startedAt) one.blindLogout = true
        }
      },
    })
  }

  /** The authorization server calls; it is a browser without cookies. */
  async function sendLogoutToken(token: SentToken, place: number, meant: readonly KnownSession[]): Promise<void> {
    const wasAccepted = token.accepted
    const caller: Browser = { number: 9, cookies: new Map(), epoch: 0 }
    const message = {
      ...{ method: 'POST', path: '/auth/backchannel-logout', body: `logout_token=${token.jwt}` },
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    }
    await send(world, caller, place, message, soon, {
      left(request, { status }) {
        if (status !== 200) return
        if (wasAccepted || token.accepted) judge.blame('noLostSession', 'One logout token counts twice')
        token.accepted = true
        judge.acknowledged(request, meant)
      },
    })
  }

  async function backchannel({ browser, place, by, twice }: Extract<Action, { do: 'back-channel logout' }>) {
    const session = latestOf(browser)
    if (!session) return
    const { user, sid } = session.grant
    const meant = model.sessions.filter(({ grant }) => (by === 'sid' ? grant.sid === sid : grant.user === user))
    for (const one of meant) judge.ending(one, 'back-channel')
    const jwt = server.logoutToken(by === 'sid' ? { sid } : { sub: user }, `jti-${logoutTokens.length}`)
    const token = { jwt, accepted: false }
    logoutTokens.push(token)
    const places = twice ? [place, place + 1] : [place]
    await Promise.all(places.map((at) => sendLogoutToken(token, at, meant)))
  }

  async function perform(action: Action): Promise<unknown> {
    switch (action.do) {
      case 'call': {
        const post = action.isPost ? { method: 'POST', body: 'something' } : {}
        const message = { path: '/api/things', headers: fromPage, ...post }
        return send(world, browserOf(action.browser), action.place, message, action.fate)
      }
      case 'look':
      case 'extend': {
        const message = { method: action.do === 'look' ? 'GET' : 'POST', path: '/auth/session', headers: fromPage }
        return send(world, browserOf(action.browser), action.place, message, action.fate)
      }
      case 'logout':
      case 'end everywhere':
        return sendEnd(action, action.do === 'logout' ? 'logout' : 'ended everywhere')
      case 'sign in':
        return signIn(action)
      case 'back-channel logout':
        return backchannel(action)
      case 'repeat back-channel logout': {
        const token = logoutTokens.at(-1)
        return token && sendLogoutToken(token, action.place, [])
      }
      case 'withdraw grant': {
        const session = latestOf(action.browser)
        if (session) session.grant.over ??= 'withdrawn by the server'
        return note(`AS: ${session?.grant.name} is withdrawn`)
      }
      case 'break server':
        note(`AS: ${action.fault} for ${action.milliseconds} ms`)
        return server.break(action.fault, action.milliseconds)
      case 'break store': {
        note(`store: ${action.fault} for I${action.places.join(', I')}, ${action.milliseconds} ms, ${action.share}`)
        const instances = action.places.map((place) => world.instanceAt(place).number)
        return store.break(action.fault, instances, action.share, action.milliseconds)
      }
      case 'refuse tokens':
        note(`API: refuses tokens for ${action.milliseconds} ms`)
        model.refusingUntil = clock.now() + action.milliseconds
        return undefined
      case 'restart':
      case 'kill':
        return world.restart(action.place, action.do === 'kill')
    }
  }

  return { perform, signIn }
}
