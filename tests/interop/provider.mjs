// The certified OpenID provider (npm oidc-provider) with two people, for the interop tests.
//
// It listens on a free port and prints one line of JSON once it is ready. Paths under /-/ steer it: rotate keys,
// disable a person. Everything is in memory.

import http from 'node:http';
import { generateKeyPair, exportJWK } from 'jose';
import { Provider } from 'oidc-provider';

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
const people = {
  alice: { preferred_username: 'alice', email: 'alice@example.test', email_verified: true, groups: ['sre', 'dba'] },
  bob: { preferred_username: 'bob', email: 'bob@example.test', email_verified: false, groups: ['dev'] },
};
const disabled = new Set();

let serial = 0;
async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  serial += 1;
  return { ...(await exportJWK(privateKey)), use: 'sig', alg, kid: `${alg}-${serial}` };
}

// Kept outside the provider, which is built anew when its keys change: its only way of changing them.
const store = new Map();
class Memory {
  constructor(name) { this.name = name; }
  key(id) { return `${this.name}:${id}`; }
  async upsert(id, payload) {
    store.set(this.key(id), payload);
    if (payload.userCode) store.set(`user code:${payload.userCode}`, id);
    if (payload.uid) store.set(`uid:${payload.uid}`, id);
  }
  async find(id) { return store.get(this.key(id)); }
  async findByUserCode(code) { return this.find(store.get(`user code:${code}`)); }
  async findByUid(uid) { return this.find(store.get(`uid:${uid}`)); }
  async destroy(id) { store.delete(this.key(id)); }
  async consume(id) { store.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of store) if (payload?.grantId === grantId) store.delete(key);
  }
}

const native = { application_type: 'native', token_endpoint_auth_method: 'none' };
const byCode = { grant_types: [DEVICE_CODE], response_types: [], redirect_uris: [] };
const clients = [
  {
    ...native, client_id: 'bastion', response_types: ['code'], redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', DEVICE_CODE],
  },
  { ...native, ...byCode, client_id: 'bastion-es256', id_token_signed_response_alg: 'ES256' },
  { ...native, ...byCode, client_id: 'another-application' },
  {
    ...byCode, client_id: 'bastion-with-secret', client_secret: 'not so secret, for tests',
    token_endpoint_auth_method: 'client_secret_basic',
  },
];

function build(issuer, keys) {
  return new Provider(issuer, {
    adapter: Memory,
    clients,
    jwks: { keys },
    cookies: { keys: ['for tests'] },
    scopes: ['openid', 'profile', 'email', 'groups'],
    claims: { profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
    conformIdTokenClaims: false, // otherwise groups are at the userinfo endpoint only
    features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
    ttl: { IdToken: 300, AccessToken: 300, AuthorizationCode: 60, DeviceCode: 120, Session: 300, Grant: 300, Interaction: 300 },
    async findAccount(_, id) {
      if (!people[id] || disabled.has(id)) return undefined;
      return { accountId: id, claims: async () => ({ sub: id, ...people[id] }) };
    },
  }).callback();
}

let keys = [await newKey('RS256'), await newKey('ES256')];
let issuer;
let answer;

const server = http.createServer(async (request, response) => {
  const [, dash, command, name] = request.url.split('/');
  if (dash !== '-') return answer(request, response);
  if (command === 'rotate') {
    keys = [await newKey('RS256'), await newKey('ES256'), ...(name === 'soft' ? keys : [])];
    answer = build(issuer, keys);
  }
  if (command === 'disable') disabled.add(name);
  if (command === 'enable') disabled.delete(name);
  return response.end();
});
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  answer = build(issuer, keys);
  console.log(JSON.stringify({ issuer }));
});
