/** What a run does beside its work so that it can be trusted: syncs, digests, the manifest. */
import { Context } from "effect"

/** On, but for the bench that measures what it costs: a run without it cannot go on, and nothing of it can be checked. */
export const Bookkeeping = Context.Reference<boolean>("mmt/Bookkeeping", { defaultValue: () => true })
