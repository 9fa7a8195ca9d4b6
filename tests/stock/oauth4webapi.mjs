// oauth4webapi, unchanged: discovery, both exchanges with DPoP, introspection, revocation, a refusal; and, as a
// resource server would, the check of a token with its proof. The ask on stdin, what it was answered on stdout. Here
// the caller retries with the nonce, as the documentation of the library shows.
import { json } from "node:stream/consumers";
import * as oauth from "oauth4webapi";
import { redemption, signIn, TOKEN_EXCHANGE } from "./wallet.mjs";

const ask = await json(process.stdin);
const insecure = { [oauth.allowInsecureRequests]: true }; // http on loopback
const issuer = new URL(ask.issuer);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: ask.client_id };
const auth = oauth.None();
const keys = await oauth.generateKeyPair("ES256");
const DPoP = oauth.DPoP(client, keys);
const told = [];

async function exchange(form) {
  const options = { DPoP, ...insecure };
  const parameters = new URLSearchParams(form);
  const send = async () => {
    const answer = await oauth.genericTokenEndpointRequest(server, client, auth, TOKEN_EXCHANGE, parameters, options);
    return oauth.processGenericTokenEndpointResponse(server, client, answer);
  };
  const granted = await send().catch((error) => {
    told.push(error.error);
    if (!oauth.isDPoPNonceError(error)) throw error;
    return send();
  });
  told.push("token");
  return granted;
}

async function introspect(token) {
  const answer = await oauth.introspectionRequest(server, client, auth, token, insecure);
  return oauth.processIntrospectionResponse(server, client, answer);
}

const redeem = await redemption(server, ask, keys.publicKey);
const redeemed = await exchange(redeem.form);
const form = await signIn(server, ask, redeem.lease);
const signedIn = await exchange(form);
const refused = await exchange(form).catch((error) => error);

const before = await introspect(redeemed.access_token);
const revoked = await oauth.revocationRequest(server, client, auth, redeemed.access_token, insecure);
await oauth.processRevocationResponse(revoked);
const after = await introspect(redeemed.access_token);

// What the client would send to the gateway, checked by the library's own resource server.
let sent;
const url = new URL("v1/embeddings?a=b", ask.resource);
await oauth.protectedResourceRequest(signedIn.access_token, "POST", url, undefined, null, {
  DPoP,
  ...insecure,
  [oauth.customFetch]: async (to, options) => {
    sent = new Request(to, options);
    return new Response();
  },
});
const claims = await oauth.validateJwtAccessToken(server, sent, ask.resource, { requireDPoP: true, ...insecure });

console.log(
  JSON.stringify({
    told,
    lease: redeem.lease,
    redeemed,
    signed_in: signedIn,
    expires_in: signedIn.expires_in,
    refused: { name: refused.name, error: refused.error, status: refused.status },
    before,
    after,
    claims,
    jwk: await crypto.subtle.exportKey("jwk", keys.publicKey),
  }),
);
