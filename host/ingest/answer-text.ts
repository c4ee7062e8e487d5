import { STATUS_CODES } from "node:http";
import { PROBLEM_HEADERS, type Problem, problemText } from "../api/problem.ts";
import { ACCEPTED_TYPE } from "./http.ts";

const HEAD_END = "\r\n\r\n";

/** Writes answers as `node:http` would. */
export class AnswerText {
  readonly #keepAlive: string;
  #second = 0;
  #date = "";

  constructor(keepAliveMs: number) {
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1_000)}`;
  }

  /** @param isLast the connection ends with it */
  render(answer: string | Problem, isLast: boolean): string {
    const ending = isLast ? "Connection: close" : this.#keepAlive;
    if (typeof answer === "string") {
      const length = Buffer.byteLength(answer);
      return `HTTP/1.1 200 OK\r\ncontent-type: ${ACCEPTED_TYPE}\r\ncontent-length: ${length}\r\nDate: ${this.#now()}\r\n${ending}${HEAD_END}${answer}`;
    }
    const text = problemText(answer);
    const { connection: _, ...own } = answer.headers ?? {};
    const headers = { ...PROBLEM_HEADERS, ...own, "content-length": Buffer.byteLength(text) };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\n${lines.join("")}Date: ${this.#now()}\r\n${ending}${HEAD_END}${text}`;
  }

  #now(): string {
    const second = Math.floor(Date.now() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1_000).toUTCString();
    }
    return this.#date;
  }
}

/** Whether the answer itself says that its connection ends. */
export function endsConnection(answer: string | Problem): boolean {
  return typeof answer !== "string" && answer.headers?.connection === "close";
}
