// Quirks of known authorization servers as data: each fact with the page of its vendor that says so. Code is for the standard.

import type { Vendor } from './vendor.ts'

const keycloakAdmin = 'https://www.keycloak.org/docs/latest/server_admin/index.html'
const cognito = 'https://docs.aws.amazon.com/cognito/latest/developerguide'
const entra = 'https://learn.microsoft.com/en-us/entra/identity-platform'
const googleOidc = 'https://developers.google.com/identity/openid-connect/openid-connect'
const googleWebServer = 'https://developers.google.com/identity/protocols/oauth2/web-server'
const oktaRefresh = 'https://developer.okta.com/docs/guides/refresh-tokens/main/'
const auth0Refresh = 'https://auth0.com/docs/secure/tokens/refresh-tokens'
const authentik = 'https://docs.goauthentik.io/add-secure-apps/providers/oauth2/'
const pingfederate = 'https://docs.pingidentity.com/pingfederate/latest'
const pingfederateSettings =
  'https://github.com/pingidentity/terraform-provider-pingfederate/blob/main/docs/resources/oauth_server_settings.md'
const duendeRefresh = 'https://docs.duendesoftware.com/identityserver/v7/tokens/refresh/'

export const vendors: readonly Vendor[] = [
  {
    id: 'keycloak',
    name: 'Keycloak',
    documentation: 'https://www.keycloak.org/securing-apps/oidc-layers',
    issuer: /\/realms\/[^/]+$/,
    offlineAccess: 'not needed',
    refreshTokens: {
      says: 'Keycloak gives refresh tokens without offline_access; with it they outlive the sign-out there, so leave it out of `scope` unless you want that.',
      source: `${keycloakAdmin}#_offline-access`,
    },
    rotation: {
      byDefault: false,
      says: 'Keycloak rotates refresh tokens when "Revoke Refresh Token" is on (Realm settings, Tokens).',
      source: `${keycloakAdmin}#_timeouts`,
    },
    typedLogoutTokens: {
      says: 'Keycloak before version 25 sends logout tokens of type JWT: with such a version set `backchannelLogout.anyType`.',
      source: 'https://github.com/keycloak/keycloak/issues/28939',
    },
  },
  {
    id: 'entra',
    name: 'Microsoft Entra ID',
    documentation: `${entra}/v2-protocols-oidc`,
    issuer:
      /^https:\/\/(login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|[\w-]+\.ciamlogin\.com)\//,
    offlineAccess: 'needed',
    refreshTokens: {
      says: 'Entra ID gives refresh tokens only for the scope offline_access.',
      source: `${entra}/scopes-oidc`,
    },
    rotation: {
      byDefault: false,
      says: 'Entra ID gives a new refresh token with each refresh, and does not revoke the old one.',
      source: `${entra}/refresh-tokens`,
    },
    mistakenIssuers: [
      {
        issuer: /\/(common|organizations|consumers)(\/|$)/,
        says: 'Name your tenant: https://login.microsoftonline.com/<tenant id>/v2.0.',
        source: `${entra}/v2-protocols-oidc`,
      },
    ],
    ownScope: {
      says: 'Add a scope of your API, such as api://<application id>/access: without one the access token is for Microsoft Graph.',
      source: `${entra}/scopes-oidc`,
    },
    ownUserinfo: {
      says: 'Set `userinfo: false`: the endpoint is one of Microsoft Graph, which would get the token of your API at every sign-in and refuse it. The claims are in the ID token; further ones can be added there as optional claims.',
      source: `${entra}/userinfo`,
    },
  },
  {
    id: 'auth0',
    name: 'Auth0',
    documentation: auth0Refresh,
    issuer: /^https:\/\/[\w.-]+\.auth0\.com\/?$/,
    offlineAccess: 'needed',
    refreshTokens: {
      says: 'Auth0 gives refresh tokens for the scope offline_access, when "Allow Offline Access" is on for the API.',
      source: auth0Refresh,
    },
    rotation: {
      byDefault: false,
      says: 'Auth0 rotates refresh tokens when "Allow Refresh Token Rotation" is on for the application.',
      source: `${auth0Refresh}/configure-refresh-token-rotation`,
    },
    parameters: [
      {
        name: 'audience',
        says: 'Set `authorizationParams: { "audience": "<identifier of your API>" }`: the access token is else not one for your API.',
        source:
          'https://support.auth0.com/center/s/article/value-of-the-audience-attribute-in-access-token-requests-and-its-significance',
      },
    ],
    idTokenHint: {
      says: 'Auth0 recommends id_token_hint for a sign-out; without it and without logout_hint it asks the user first.',
      source: 'https://auth0.com/docs/authenticate/login/logout/log-users-out-of-auth0',
    },
  },
  {
    id: 'okta',
    name: 'Okta',
    documentation: oktaRefresh,
    issuer: /^https:\/\/[\w.-]+\.(okta|oktapreview|okta-emea)\.com(\/|$)/,
    offlineAccess: 'needed',
    refreshTokens: {
      says: 'Okta gives refresh tokens for the scope offline_access, when the grant type Refresh Token is allowed for the application.',
      source: oktaRefresh,
    },
    rotation: {
      byDefault: false,
      says: 'Okta keeps refresh tokens of web applications the same unless "Rotate token after every use" is chosen.',
      source: oktaRefresh,
    },
    idTokenHint: {
      says: 'Okta requires id_token_hint for a sign-out.',
      source:
        'https://support.okta.com/help/s/article/the-purpose-of-id-token-hint-in-the-logout-api-and-how-does-it-affect-the-single-logout-process',
    },
  },
  {
    id: 'google',
    name: 'Google',
    documentation: googleOidc,
    issuer: /^https:\/\/accounts\.google\.com$/,
    applied: {
      dropScope: ['offline_access'],
      insteadParams: { access_type: 'offline' },
      says: 'Google has no scope offline_access, and fails the request; access_type=offline says the same.',
      source: googleWebServer,
    },
    offlineAccess: 'not needed',
    refreshTokens: {
      says: 'For offline_access coatcheck sends Google access_type=offline, which has no such scope.',
      source: googleWebServer,
    },
    parameters: [
      {
        name: 'prompt',
        value: 'consent',
        says: 'Google gives a refresh token the first time a user consents. For one at every sign-in set `authorizationParams: { "prompt": "consent" }`.',
        source: googleWebServer,
      },
    ],
  },
  {
    id: 'cognito',
    name: 'Amazon Cognito',
    documentation: `${cognito}/cognito-userpools-server-contract-reference.html`,
    issuer: /^https:\/\/cognito-idp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\/[\w-]+$/,
    applied: {
      dropScope: ['offline_access'],
      returnParam: 'logout_uri',
      says: 'Cognito reserves its scopes, offline_access is none of them; its logout endpoint takes the return address as logout_uri.',
      source: `${cognito}/authorization-endpoint.html, ${cognito}/logout-endpoint.html`,
    },
    offlineAccess: 'not needed',
    refreshTokens: {
      says: 'Cognito gives refresh tokens with the code flow, without a scope for it; coatcheck leaves offline_access out there.',
      source: `${cognito}/amazon-cognito-user-pools-using-the-refresh-token.html`,
    },
    rotation: {
      byDefault: false,
      says: 'Cognito rotates refresh tokens when refresh token rotation is enabled for the app client.',
      source: `${cognito}/amazon-cognito-user-pools-using-the-refresh-token.html`,
    },
  },
  {
    id: 'zitadel',
    name: 'ZITADEL',
    documentation: 'https://zitadel.com/docs/apis/openidoauth/endpoints',
    issuer: /^https:\/\/[\w.-]+\.zitadel\.(cloud|app)$/,
    offlineAccess: 'needed',
    refreshTokens: {
      says: 'ZITADEL gives refresh tokens for the scope offline_access, when the checkbox Refresh Token of the application is set.',
      source: 'https://help.zitadel.com/how-to-enable-and-receive-refresh-tokens',
    },
    rotation: {
      byDefault: true,
      says: 'ZITADEL rotates refresh tokens.',
      source: 'https://help.zitadel.com/how-to-enable-and-receive-refresh-tokens',
    },
  },
  {
    id: 'authentik',
    name: 'authentik',
    documentation: authentik,
    issuer: /\/application\/o\/[^/]+\/$/,
    metadata: ['token_endpoint', /\/application\/o\/token\/$/],
    offlineAccess: 'needed',
    refreshTokens: {
      says: 'authentik gives refresh tokens for the scope offline_access (since 2024.2), when that scope mapping is selected in the provider.',
      source: authentik,
    },
    rotation: { byDefault: true, says: 'authentik rotates refresh tokens.', source: authentik },
    typedLogoutTokens: {
      says: 'authentik without its change 19554 (merged in 2026) sends logout tokens of type JWT: with such a version set `backchannelLogout.anyType`.',
      source: 'https://github.com/goauthentik/authentik/pull/19554',
    },
  },
  {
    id: 'ping',
    name: 'PingOne',
    documentation: 'https://docs.pingidentity.com/pingone/applications/p1_edit_application_oidc.html',
    issuer: /^https:\/\/auth\.pingone\.[a-z.]+\/[0-9a-f-]{36}\/as$/,
    offlineAccess: 'not needed',
    refreshTokens: {
      says: 'PingOne gives refresh tokens when the grant type Refresh Token is selected for the application.',
      source: 'https://docs.pingidentity.com/pingone/applications/p1_grant_types.html',
    },
    idTokenHint: {
      says: 'PingOne finds the session of a sign-out by id_token_hint.',
      source: 'https://apidocs.pingidentity.com/pingone/authentication/v1/api/guide/p1-a_Signoff/',
    },
  },
  {
    id: 'pingfederate',
    name: 'PingFederate',
    documentation: `${pingfederate}/administrators_reference_guide/help_authorizationserversettingstasklet_oauthauthorizationserversettingsstate.html`,
    metadata: ['token_endpoint', /\/as\/token\.oauth2$/],
    offlineAccess: 'not needed',
    refreshTokens: {
      says: 'PingFederate gives refresh tokens to clients with the grant type Refresh Token; since 12.1 it can be told to ask for offline_access, and for prompt=consent with it.',
      source: pingfederateSettings,
    },
    rotation: {
      byDefault: false,
      says: 'PingFederate rotates refresh tokens when "Roll Refresh Token Values" is on, with a grace period of 60 seconds as it comes.',
      source: pingfederateSettings,
    },
    idTokenHint: {
      says: 'PingFederate asks the user before it signs out, unless it gets an id_token_hint.',
      source: `${pingfederate}/developers_reference_guide/pf_openid_connect_rp_logout_endpoint.html`,
    },
  },
  {
    id: 'curity',
    name: 'Curity Identity Server',
    documentation: 'https://curity.io/resources/learn/refresh-tokens',
    metadata: ['token_endpoint', /\/oauth\/v2\/oauth-token$/],
    offlineAccess: 'not needed',
    refreshTokens: {
      says: 'The Curity Identity Server gives refresh tokens to clients that are capable of refresh.',
      source: 'https://curity.io/resources/learn/refresh-tokens',
    },
    rotation: {
      byDefault: true,
      says: 'The Curity Identity Server rotates refresh tokens unless reuse-refresh-tokens is set.',
      source:
        'https://curity.io/docs/identity-server/configuration-reference/profiles/profile/settings/authorization-server',
    },
  },
  {
    id: 'duende',
    name: 'Duende IdentityServer',
    documentation: duendeRefresh,
    metadata: ['jwks_uri', /\/\.well-known\/openid-configuration\/jwks$/],
    offlineAccess: 'needed',
    refreshTokens: {
      says: 'IdentityServer gives refresh tokens for the scope offline_access, when AllowOfflineAccess is true for the client.',
      source: 'https://docs.duendesoftware.com/identityserver/v7/reference/models/client/',
    },
    rotation: {
      byDefault: false,
      says: 'IdentityServer reuses refresh tokens since version 7 (RefreshTokenUsage ReUse); before, each was good for one use.',
      source: duendeRefresh,
    },
  },
]
