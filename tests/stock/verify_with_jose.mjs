// jose, unchanged: a token verified against the published keys, and what it says of one for somebody else. The ask on
// stdin, what it found on stdout.
import { json } from "node:stream/consumers";
import { calculateJwkThumbprint, createRemoteJWKSet, jwtVerify } from "jose";

const ask = await json(process.stdin);
const metadata = await (await fetch(`${ask.issuer}/.well-known/oauth-authorization-server`)).json();
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
const expected = { typ: "at+jwt", algorithms: ["ES256"], issuer: ask.issuer, audience: ask.resource };

const { payload, protectedHeader } = await jwtVerify(ask.token, keys, expected);
const refusal = async (token, changes) => {
  const error = await jwtVerify(token, keys, { ...expected, ...changes }).catch((thrown) => thrown);
  return [error.code, error.claim];
};
const [header, , signature] = ask.token.split(".");
const forged = Buffer.from(JSON.stringify({ ...payload, scope: "train" })).toString("base64url");

console.log(
  JSON.stringify({
    claims: payload,
    header: protectedHeader,
    thumbprint: await calculateJwkThumbprint(ask.jwk),
    refused: {
      audience: await refusal(ask.token, { audience: "http://127.0.0.1:8/" }),
      issuer: await refusal(ask.token, { issuer: "http://127.0.0.1:8" }),
      type: await refusal(ask.token, { typ: "JWT" }),
      forged: await refusal([header, forged, signature].join("."), {}),
      expired: await refusal(ask.token, { currentDate: new Date(payload.exp * 1000) }),
    },
  }),
);
