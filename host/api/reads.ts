import type { EventsTask, ListTask, Page, ResultsTask } from "../../workers/query.ts";

export type { Page, ResultsTask };

/** What the API reads from the store. */
export interface HistoryReads {
  events(task: EventsTask): Promise<Page>;
  results(task: ResultsTask): Promise<Page>;
  late(task: { stream: string; timeField: string; limit: number; after: string | null }): Promise<Page>;
  deadLetters(task: ListTask): Promise<Page>;
  losses(task: ListTask): Promise<Page>;
}
