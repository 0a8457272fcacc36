/** The epochs of claims (`services/epochs.ts`) in statements that claim. */
import { epochLength, epochMax, epochsBegin } from "../../services/epochs.ts"

/** As `nextEpoch` of the service; both parameters are SQL expressions. */
export const nextEpoch = (last: string, time: string): string =>
  `greatest(${last} + 1, least(floor((extract(epoch from ${time}) - ${epochsBegin / 1000}) * ${
    1000 / epochLength
  }), ${epochMax})::integer)`
