// An OpenID provider on loopback for test_oidc.sh: public clients for the authorization code with PKCE, the device grant and the
// password grant, one whose tokens are for somebody else, users with roles, short lives, and keys that can be exchanged.
//   node provider.mjs PORT-FILE       (packages are looked up from the working directory)
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { renameSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.cwd()}/`);
const { Provider, errors } = await import(pathToFileURL(require.resolve('oidc-provider')));

const users = {
  maya: { name: 'Maya', roles: ['team-a', 'unknown-here'] },
  root: { name: 'Root', roles: ['site-admins'] },
  nobody: { name: 'Nobody', roles: [] },
};
const lives = { IdToken: 300 }; // seconds; /-/life?IdToken=N changes it
const cookieKeys = [randomBytes(32).toString('hex')];
let algorithm = 'RS256';
let serial = 0;

function newKeys() {
  serial += 1;
  const key = (type, options, alg) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${serial}`,
  });
  return { keys: [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')] };
}

const client = (id) => ({
  client_id: id,
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  id_token_signed_response_alg: algorithm,
  grant_types: ['authorization_code', 'refresh_token', 'password', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
  redirect_uris: ['http://localhost'],
});

async function passwordGrant(ctx, next) {
  const { provider, client: asking, params } = ctx.oidc;
  if (!users[params.username] || params.password !== 'secret of tests') throw new errors.InvalidGrant('wrong user name or password');
  const account = await provider.Account.findAccount(ctx, params.username);
  const grant = new provider.Grant({ accountId: account.accountId, clientId: asking.clientId });
  grant.addOIDCScope(params.scope);
  const common = { accountId: account.accountId, client: asking, grantId: await grant.save(), gty: 'password', scope: params.scope };
  const access = new provider.AccessToken(common);
  const refresh = new provider.RefreshToken({ ...common, rotations: 0 });
  const token = new provider.IdToken({ ...await account.claims('id_token', params.scope) }, { ctx });
  token.scope = params.scope;
  ctx.body = {
    access_token: await access.save(), refresh_token: await refresh.save(), id_token: await token.issue({ use: 'idtoken' }),
    expires_in: access.expiration, token_type: 'Bearer', scope: params.scope,
  };
  await next();
}

function makeProvider(issuer) {
  const provider = new Provider(issuer, {
    clients: [client('osmo-browser'), client('osmo-device'), client('other')],
    jwks: newKeys(),
    cookies: { keys: cookieKeys },
    conformIdTokenClaims: false, // what the scopes name goes into the identity token, as upstream's providers do
    claims: { openid: ['sub', 'roles'], profile: ['name', 'preferred_username'] },
    scopes: ['openid', 'offline_access'],
    pkce: { required: () => true, methods: ['S256'] },
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
    issueRefreshToken: async (ctx, asking) => asking.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    ttl: {
      IdToken: () => lives.IdToken, AccessToken: 600, AuthorizationCode: 60, DeviceCode: 120, RefreshToken: 3600, Session: 3600,
      Interaction: 600, Grant: 3600,
    },
    findAccount: async (ctx, id) => users[id] && {
      accountId: id, claims: async () => ({ sub: id, preferred_username: id, name: users[id].name, roles: users[id].roles }),
    },
  });
  provider.registerGrantType('password', passwordGrant, ['username', 'password', 'scope']);
  return provider;
}

let answer;
const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost');
  if (url.pathname === '/-/life') {
    for (const [name, value] of url.searchParams) lives[name] = Number(value);
    res.end('ok\n');
  } else if (url.pathname === '/-/roll') { // other keys, another algorithm; what was granted stays
    algorithm = url.searchParams.get('alg');
    answer = makeProvider(issuer).callback();
    res.end('ok\n');
  } else {
    answer(req, res);
  }
});
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const issuer = `http://127.0.0.1:${server.address().port}`;
answer = makeProvider(issuer).callback();
writeFileSync(`${process.argv[2]}.new`, `${server.address().port}\n`);
renameSync(`${process.argv[2]}.new`, process.argv[2]);
