import type { AlertRow } from "../messages.ts";
import type { QueuedWebhook } from "../store/alert-store.ts";
import { alertPlace, webhookPlace } from "./places.ts";
import type { Seal, Stored } from "./seal.ts";
import { joinTexts, splitTexts } from "./texts.ts";

type Sealed = "key" | "id" | "value";
/** The columns of a step of an alert that are sealed, or stand for what is. */
export type SealedAlert = Readonly<Record<Sealed, Stored>>;

/** What the place of a step is made of; `isRetracted` as the table has it or as a row does. */
type AlertHead = Pick<AlertRow, "alert" | "sinceUs" | "atUs" | "revision" | "severity" | "state"> & {
  readonly isRetracted: boolean | number;
};

export function alertKeyName(seal: Seal, key: string): Stored {
  return seal.name("alerts", key);
}

/** An id is made of the alert's definition and key without a secret, so it could be guessed from: it has a name too. */
export function alertIdName(seal: Seal, id: string): Stored {
  return seal.name("alert-ids", id);
}

export function sealAlert(seal: Seal, row: AlertHead & Pick<AlertRow, Sealed>): SealedAlert {
  const { key, id, value } = row;
  if (!seal.isOn) return { key, id, value };
  const name = alertIdName(seal, id);
  const place = alertPlace({ ...row, isRetracted: Boolean(row.isRetracted) }, name);
  return { key: alertKeyName(seal, key), id: name, value: seal.text(place, joinTexts(key, id, value)) };
}

/** @throws MillraceError E_SEAL */
export function openAlert(seal: Seal, row: AlertHead & SealedAlert): Pick<AlertRow, Sealed> {
  if (!seal.isOn) return row as Pick<AlertRow, Sealed>;
  const place = alertPlace({ ...row, isRetracted: Boolean(row.isRetracted) }, row.id);
  const [key = "", id = "", value = ""] = splitTexts(seal.openText(place, row.value), 3);
  return { key, id, value };
}

type SealedPost = "url" | "idempotencyKey" | "body";
export type StoredWebhook = Omit<QueuedWebhook, SealedPost> & Readonly<Record<SealedPost, Stored>>;

/** Addresses of webhooks hold tokens. */
export function sealWebhook(
  seal: Seal,
  alert: string,
  url: string,
  idempotencyKey: string,
  body: string,
): Readonly<Record<SealedPost, Stored>> {
  if (!seal.isOn) return { url, idempotencyKey, body };
  const names = {
    url: seal.name("webhooks", url),
    idempotencyKey: seal.name("webhook-posts", idempotencyKey),
  };
  const place = webhookPlace(alert, names.url, names.idempotencyKey);
  return { ...names, body: seal.text(place, joinTexts(url, idempotencyKey, body)) };
}

/** @throws MillraceError E_SEAL */
export function openWebhook(seal: Seal, row: StoredWebhook): QueuedWebhook {
  if (!seal.isOn) return row as QueuedWebhook;
  const place = webhookPlace(row.alert, row.url, row.idempotencyKey);
  const [url = "", idempotencyKey = "", body = ""] = splitTexts(seal.openText(place, row.body), 3);
  return { ...row, url, idempotencyKey, body };
}
