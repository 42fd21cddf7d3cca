// Apache with mod_auth_openidc and a cookie session: what operators put in front of an application without Node.
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { scope } from '../support/authorization-server.ts'
import { startServer } from '../support/processes.ts'
import type { Contestant } from './contestant.ts'

const modules = '/usr/lib/apache2/modules'
const used = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'headers', 'proxy', 'proxy_http', 'auth_openidc']

export const modAuthOpenidc: Contestant = {
  name: 'mod_auth_openidc',
  what: 'Apache, event MPM; `OIDCSessionType client-cookie`',
  packages: { 'apache2-bin': '/usr/sbin/apache2', 'libapache2-mod-auth-openidc': `${modules}/mod_auth_openidc.so` },
  callbackPath: '/callback',
  async start({ url, port, dir, core, upstream, authorizationServer, client }) {
    const file = join(dir, 'apache2.conf')
    // One core, so one process; with a thread for every connection. With Debian's 25 threads in a process Apache closes
    // connections that wait when all are busy, and some requests get no answer. Nothing is logged.
    const config = `ServerRoot ${dir}
DefaultRuntimeDir ${dir}
PidFile ${dir}/apache2.pid
ErrorLog ${dir}/error.log
LogLevel warn
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
${used.map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`).join('\n')}
StartServers 1
MinSpareThreads 25
MaxSpareThreads 256
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 256
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 65
MaxKeepAliveRequests 0

OIDCProviderMetadataURL ${authorizationServer.issuer}/.well-known/openid-configuration
OIDCClientID ${client.id}
OIDCClientSecret ${client.secret}
OIDCProviderTokenEndpointAuth client_secret_basic
OIDCRedirectURI ${url}/callback
OIDCScope "${scope}"
OIDCPKCEMethod S256
OIDCCryptoPassphrase ${randomBytes(32).toString('base64url')}
OIDCSessionType client-cookie
OIDCPassClaimsAs environment

<Location /callback>
  AuthType openid-connect
  Require valid-user
</Location>
<Location /api>
  AuthType openid-connect
  Require valid-user
  RequestHeader set Authorization "Bearer %{OIDC_access_token}e"
  RequestHeader unset Cookie
  ProxyPass ${upstream.url}
</Location>
`
    await writeFile(file, config, { mode: 0o600 })
    const started = await startServer(['apache2', '-f', file, '-D', 'FOREGROUND'], { port, core })
    return { ...started, signInUrl: `${url}/api/data` }
  },
}
