/** Keys, teams and aliases: read when they are looked at and after each change, and changed here. */
import { ApiError, aliases, deleteAlias, deleteTeam, keys, revokeKey, teams } from "../../api/client";
import type { Alias, Key, Team } from "../../api/types";
import { plural } from "../../lib/format";
import { lastUsed } from "./keys";
import { dialogs } from "../../stores/dialogs.svelte";
import { live } from "../../stores/live.svelte";
import { notices } from "../../stores/notices.svelte";
import { session } from "../../stores/session.svelte";
import { inWords } from "../../stores/verbs";

class Access {
  keys = $state.raw<readonly Key[]>();
  teams = $state.raw<readonly Team[]>();
  aliases = $state.raw<readonly Alias[]>();
  problem = $state<string>();

  /** Read all three: each shows something of another. What was read before stays until then. */
  async read(): Promise<void> {
    try {
      [this.keys, this.teams, this.aliases] = await Promise.all([keys(), teams(), aliases()]);
      this.problem = undefined;
    } catch (error) {
      this.problem = inWords(error);
      if (error instanceof ApiError && error.status === 401) await session.look();
    }
  }

  forget(): void {
    this.keys = this.teams = this.aliases = this.problem = undefined;
  }

  /** Revoke a key once somebody said yes. */
  confirmRevoke(key: Key): void {
    const used = `Last used: ${lastUsed(key, live.now)}.`;
    dialogs.confirm({
      title: `Revoke ${key.name}?`,
      text: `Within a second every request with this key is refused with a 401, and whatever uses the key stops working. ${used} This cannot be undone; what the key used stays counted.`,
      action: "Revoke",
      run: () => this.end(`${key.name} is revoked.`, `${key.name}, revoke`, () => revokeKey(key.id)),
    });
  }

  /** Delete a team once somebody said yes. */
  confirmDeleteTeam(team: Team): void {
    dialogs.confirm({
      title: `Delete ${team.name}?`,
      text: "Its limits and its share of busy deployments go; what it used stays counted, as nobody's.",
      action: "Delete",
      run: () => this.end(`${team.name} is deleted.`, `${team.name}, delete`, () => deleteTeam(team.id)),
    });
  }

  /** Delete an alias once somebody said yes. */
  confirmDeleteAlias(alias: Alias): void {
    const told = (this.keys ?? []).filter((key) => !key.revoked_at && key.allowed_models?.includes(alias.name)).length;
    const held = told ? ` ${plural(told, ["# key may", "# keys may"])} ask for it by name and cannot any more.` : "";
    dialogs.confirm({
      title: `Delete ${alias.name}?`,
      text: `From now on requests for the model "${alias.name}" get a 404.${held} The deployments behind it stay, under their own names.`,
      action: "Delete",
      run: () => this.end(`${alias.name} is deleted.`, `${alias.name}, delete`, () => deleteAlias(alias.id)),
    });
  }

  private async end(done: string, what: string, ask: () => Promise<unknown>): Promise<void> {
    try {
      await ask();
      notices.done(done);
    } catch (error) {
      notices.error(`${what}: ${inWords(error)}`);
    }
    await this.read();
  }
}

export const access = new Access();
session.atEnd(() => access.forget());
