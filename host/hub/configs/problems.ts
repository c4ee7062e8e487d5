import type { Problem } from "../../api/problem.ts";

export const badName: Problem = {
  status: 400,
  code: "E_EDGE_NAME",
  title: "Bad name",
  detail: "a name of an edge or a group has 1 to 128 letters, digits, _ . or -",
};
export const invalid: Problem = {
  status: 422,
  code: "E_CONFIG",
  title: "Invalid configuration",
  detail: "nothing was stored; errors names each problem with its line and what to do",
};
export const unread: Problem = {
  status: 400,
  code: "E_CONFIG",
  title: "Bad request",
  detail: "the document did not come whole; send it again",
};
export const badVersion: Problem = {
  status: 400,
  code: "E_CONFIG_VERSION",
  title: "Bad version",
  detail: "Millrace-Config-Version must be a whole number from 1 on; leave it out and the hub counts",
};
export const badSignature: Problem = {
  status: 400,
  code: "E_SIGNATURE",
  title: "Bad signature",
  detail:
    "Millrace-Signature must be what millrace sign-config printed, with the Millrace-Config-Version that was signed",
};
export const badRollout: Problem = {
  status: 400,
  code: "E_ROLLOUT",
  title: "Bad rollout",
  detail:
    "write rollout=5,25,100 (per cents that grow up to 100, 20 at most), wait=10m or one for each step, and maxFailures=0 or more",
};
export const badReport: Problem = {
  status: 400,
  code: "E_CONFIG_STATE",
  title: "Bad state",
  detail: "a state is JSON with scope, version, etag, state, reason and atUs",
};
export const badMembers: Problem = {
  status: 400,
  code: "E_CONFIG_GROUP",
  title: "Bad group",
  detail: 'the edges of a group are JSON: {"edges": ["press-1", "press-2"]}',
};
export const noVersion: Problem = {
  status: 404,
  code: "E_UNKNOWN_VERSION",
  title: "Unknown version",
  detail: "there is no such version; …/versions lists them",
};

export function noConfig(edge: string): Problem {
  const detail = `no configuration is held for edge ${edge}; put one, or put the edge into a group`;
  return { status: 404, code: "E_NO_CONFIG", title: "No configuration", detail };
}

export function noGroup(group: string): Problem {
  const detail = `group ${group} has no configuration; GET /v1/config-groups lists the groups`;
  return { status: 404, code: "E_UNKNOWN_GROUP", title: "Unknown group", detail };
}

export function noRollout(group: string): Problem {
  const detail = `group ${group} has no rollout; begin one with PUT /v1/config-groups/${group}?rollout=5,25,100`;
  return { status: 404, code: "E_NO_ROLLOUT", title: "No rollout", detail };
}

export function notNewer(newest: number): Problem {
  const detail = `the newest version is ${newest}, and one that is put must have a greater number; sign it again`;
  return { status: 409, code: "E_CONFIG_VERSION", title: "Not a newer version", detail };
}

export function rollingOut(version: number): Problem {
  const detail = `version ${version} is being rolled out; wait, or POST …/rollout/abort first`;
  return { status: 409, code: "E_ROLLOUT", title: "A rollout is under way", detail };
}

export function tooLarge(maxBytes: number): Problem {
  const detail = `a configuration has ${maxBytes} bytes at most`;
  return { status: 413, code: "E_TOO_LARGE", title: "Too large", detail };
}
