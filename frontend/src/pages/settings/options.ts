/** Which of the installation's variables are shown. Pure. */
import type { Settings } from "../../api/types";

/** The groups with the variables in whose name or meaning `find` stands; of those `onlySet`, what is set. */
export function optionsLike(groups: Settings["groups"], find: string, onlySet: boolean): Settings["groups"] {
  const word = find.trim().toLowerCase();
  return groups
    .map(({ title, options }) => ({
      title,
      options: options.filter(
        (one) => (one.is_set || !onlySet) && `${one.name} ${one.meaning}`.toLowerCase().includes(word),
      ),
    }))
    .filter(({ options }) => options.length > 0);
}
