// The part of Markdown that the gateway's own documents use, as a tree that components draw. No HTML is ever made of text.

export type Inline = { kind: "text" | "code" | "strong" | "em" | "link"; text: string };
export type Block =
  | { kind: "heading"; level: number; inline: Inline[] }
  | { kind: "paragraph"; inline: Inline[] }
  | { kind: "code"; text: string }
  | { kind: "list"; ordered: boolean; items: Inline[][] }
  | { kind: "table"; head: Inline[][]; rows: Inline[][][] };

const TOKEN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\([^)]*\)/g;

export function inline(text: string): Inline[] {
  const parts: Inline[] = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > end) parts.push({ kind: "text", text: text.slice(end, match.index) });
    const [whole, code, strong, em, link] = match;
    if (code !== undefined) parts.push({ kind: "code", text: code });
    else if (strong !== undefined) parts.push({ kind: "strong", text: strong.replaceAll("`", "") });
    else if (em !== undefined) parts.push({ kind: "em", text: em });
    // Links of the documents lead to other files of the project, which are not here: their words are kept.
    else parts.push({ kind: "link", text: (link ?? "").replaceAll("`", "") });
    end = match.index + whole.length;
  }
  if (end < text.length) parts.push({ kind: "text", text: text.slice(end) });
  return parts;
}

const cells = (line: string) =>
  line
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => inline(cell.trim().replaceAll("\\|", "|")));

export function blocks(source: string): Block[] {
  const lines = source.replaceAll("\r\n", "\n").split("\n");
  const made: Block[] = [];
  let at = 0;
  const line = () => lines[at] ?? "";
  while (at < lines.length) {
    const heading = /^(#{1,6})\s+(.*)/.exec(line());
    if (/^\s*$/.test(line())) at += 1;
    else if (line().startsWith("```")) {
      const body: string[] = [];
      for (at += 1; at < lines.length && !line().startsWith("```"); at += 1) body.push(line());
      at += 1;
      made.push({ kind: "code", text: body.join("\n") });
    } else if (heading) {
      made.push({ kind: "heading", level: heading[1]?.length ?? 1, inline: inline(heading[2] ?? "") });
      at += 1;
    } else if (line().startsWith("|") && /^\|[\s:|-]+$/.test(lines[at + 1] ?? "")) {
      const head = cells(line());
      const rows: Inline[][][] = [];
      for (at += 2; line().startsWith("|"); at += 1) rows.push(cells(line()));
      made.push({ kind: "table", head, rows });
    } else if (/^\s*([-*]|\d+\.)\s+/.test(line())) {
      const ordered = /^\s*\d/.test(line());
      const items: string[] = [];
      while (at < lines.length && !/^\s*$/.test(line())) {
        const item = /^\s*(?:[-*]|\d+\.)\s+(.*)/.exec(line());
        if (item) items.push(item[1] ?? "");
        else items.push(`${items.pop() ?? ""} ${line().trim()}`);
        at += 1;
      }
      made.push({ kind: "list", ordered, items: items.map(inline) });
    } else {
      const body: string[] = [];
      while (at < lines.length && !/^\s*$/.test(line()) && !/^(#|```|\|)/.test(line())) {
        body.push(line().trim());
        at += 1;
      }
      // A line that looks like the beginning of something and is not is text.
      if (body.length === 0) {
        body.push(line());
        at += 1;
      }
      made.push({ kind: "paragraph", inline: inline(body.join(" ")) });
    }
  }
  return made;
}
