// Signing in and allowing, as the user of the demo's authorization server meets them.
import { timingSafeEqual } from 'node:crypto'
import type { HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import type { Grant, Interaction, InteractionResult, Provider, ProviderContext } from 'oidc-provider'
import { accounts } from './accounts.ts'
import { consentPage, loginPage, messagePage, pageHeaders, styleSheet } from './authorization-server-pages.ts'

type PageContext = Context<{ Bindings: HttpBindings }>

/** What each account allowed in full: it is not asked that again, even after its grant ended with a sign-out. */
export type Consents = Map<string, (grant: Grant) => void>

/** The grant a sign-in can go on with: that of the session, or a new one with what was allowed before. */
export async function existingGrant({ oidc }: ProviderContext, consents: Consents): Promise<Grant | undefined> {
  const { provider, client, session, result } = oidc
  const clientId = client?.clientId ?? ''
  const accountId = session?.accountId ?? ''
  const id = result?.consent?.grantId ?? session?.grantIdFor(clientId)
  const known = id === undefined ? undefined : await provider.Grant.find(id)
  const allow = consents.get(accountId)
  if (known || !allow) return known
  const grant = new provider.Grant({ accountId, clientId })
  allow(grant)
  await grant.save()
  return grant
}

/** The pages under `/interaction/`, where oidc-provider sends a browser to ask its user something. */
export function createInteractions(
  provider: Provider,
  appUrl: string,
  consents: Consents,
): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()
  const show = (c: PageContext, page: string, status: 200 | 400 | 401 = 200) => c.html(page, status, pageHeaders)

  function details({ env }: PageContext): Promise<Interaction> {
    return provider.interactionDetails(env.incoming, env.outgoing)
  }

  async function goOn(c: PageContext, result: InteractionResult): Promise<Response> {
    const { incoming, outgoing } = c.env
    const keepsLogin = 'consent' in result
    const url = await provider.interactionResult(incoming, outgoing, result, { mergeWithLastSubmission: keepsLogin })
    return c.redirect(url, 303)
  }

  app.get('/style.css', (c) => c.body(styleSheet, 200, { 'content-type': 'text/css; charset=utf-8' }))
  app.get('/favicon.ico', (c) => c.body(null, 204))
  app.get('/', async (c) =>
    show(
      c,
      await messagePage('This is the demo’s authorization server', 'There is nothing to do here.', undefined, appUrl),
    ),
  )

  app.get('/interaction/:uid', async (c) => {
    const { prompt, params } = await details(c)
    if (prompt.name === 'login') return show(c, await loginPage({ username: params.login_hint ?? '' }))
    return show(c, await consentPage(asked(prompt)))
  })

  app.post('/interaction/:uid', async (c) => {
    const interaction = await details(c)
    const form = await c.req.parseBody()
    if (form.action === 'cancel') {
      return goOn(c, { error: 'access_denied', error_description: 'The user cancelled' })
    }
    if (interaction.prompt.name === 'consent') {
      return goOn(c, { consent: { grantId: await allow(interaction, form['orders:write'] === 'on') } })
    }
    const username = String(form.username ?? '')
      .trim()
      .toLowerCase()
    const account = accounts.find((one) => one.username === username)
    if (!account || !equal(account.password, String(form.password ?? ''))) {
      return show(c, await loginPage({ username, failed: true }), 401)
    }
    return goOn(c, { login: { accountId: account.id } })
  })

  app.onError(async (_, c) => {
    const text = 'It was used already or took too long. If you are signed in you can simply go back to the application.'
    return show(c as PageContext, await messagePage('This sign-in page is over', text, undefined, appUrl), 400)
  })

  /** Writes down what the user allowed; returns the id of the grant. */
  async function allow({ grantId, session, params, prompt }: Interaction, mayWrite: boolean): Promise<string> {
    const known = grantId === undefined ? undefined : await provider.Grant.find(grantId)
    const grant: Grant =
      known ?? new provider.Grant({ accountId: session?.accountId ?? '', clientId: params.client_id ?? '' })
    const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details
    const write = (to: Grant) => {
      if (missingOIDCScope.length > 0) to.addOIDCScope(missingOIDCScope.join(' '))
      for (const [resource, scopes] of Object.entries(missingResourceScopes)) {
        for (const scope of scopes) {
          if (scope === 'orders:write' && !mayWrite) to.rejectResourceScope(resource, scope)
          else to.addResourceScope(resource, scope)
        }
      }
    }
    write(grant)
    if (mayWrite) consents.set(session?.accountId ?? '', write)
    return grant.save()
  }

  return app
}

/** The scopes a consent page has to ask about. */
function asked({ details }: Interaction['prompt']): string[] {
  return [...(details.missingOIDCScope ?? []), ...Object.values(details.missingResourceScopes ?? {}).flat()]
}

function equal(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return a.length === b.length && timingSafeEqual(a, b)
}
