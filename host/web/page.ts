import { createHash } from "node:crypto";

/** A page in one piece, and the policy that lets a browser run nothing but what is in it. */
export interface Page {
  readonly html: string;
  readonly contentSecurityPolicy: string;
}

export interface PageParts {
  readonly title: string;
  readonly style: string;
  readonly body: string;
  /** A module. */
  readonly script: string;
}

export function makePage({ title, style, body, script }: PageParts): Page {
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
${body}
<script type="module">${script}</script>
</body>
</html>
`;
  const contentSecurityPolicy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return { html, contentSecurityPolicy };
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
