// A world in which the doctor finds nothing, and what it takes to make it find something.
import type { ConfigInput } from '../../src/config.ts'
import { readConfig } from '../../src/config-reader.ts'
import { examine, type Finding, type Report } from '../../src/doctor.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { startCoatcheck } from './coatcheck.ts'
import { closeAfterTest } from './http-server.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export interface World {
  readonly as: AuthorizationServer
  readonly api: Upstream
  readonly config: ConfigInput
}

/** An authorization server and an API of good manners, and coatcheck running between them. */
export async function healthy(overrides: (world: World) => Partial<ConfigInput> = () => ({})): Promise<World> {
  const as = closeAfterTest(await startAuthorizationServer())
  const api = closeAfterTest(await startUpstream())
  as.behaviour.metadata = announce
  as.behaviour.faults['/end-session'] = ({ query }) => ({
    status: 302,
    headers: { location: `${query.get('post_logout_redirect_uri')}?state=${query.get('state')}` },
    body: '',
  })
  api.answer = (request, response) => {
    const isOpen = request.url?.startsWith('/open') || request.url?.startsWith('/maybe')
    response.writeHead(isOpen || request.headers.authorization ? 200 : 401).end()
  }
  const { config } = await startCoatcheck(as, api, ({ config: plain }) => {
    const config = withProvider({ config: plain }, { authorizationParams: { prompt: 'consent' } })
    return { ...config, ...overrides({ as, api, config }) }
  })
  return { as, api, config }
}

function announce(metadata: Record<string, unknown>): void {
  metadata.backchannel_logout_supported = true
  metadata.token_endpoint_auth_methods_supported = ['client_secret_basic', 'private_key_jwt']
  metadata.grant_types_supported = ['authorization_code', 'refresh_token']
}

export const report = ({ config }: Pick<World, 'config'>) => examine(readConfig(config), '.')

/** Changes what the server says of itself, on top of what it says when all is well. */
export function saying(as: AuthorizationServer, more: Record<string, unknown>): void {
  as.behaviour.metadata = (metadata) => {
    announce(metadata)
    Object.assign(metadata, more)
  }
}

export const codes = ({ findings }: Report, about?: string) =>
  findings
    .filter(({ severity, ...one }) => severity !== 'ok' && (about ?? one.about) === one.about)
    .map(({ code }) => code)

export const found = ({ findings }: Report, code: Finding['code']) => findings.find((one) => one.code === code)

/** The configuration with its provider changed. */
export function withProvider({ config }: Pick<World, 'config'>, more: object): ConfigInput {
  const [provider, ...others] = config.providers
  return { ...config, providers: [{ ...provider, ...more } as (typeof config.providers)[number], ...others] }
}
