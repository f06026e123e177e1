// What a proof proves, in words.

export function say(proven) {
  const { by, handovers, checkpoints } = proven;
  const changes = { 0: 'whom you trust', 1: 'who took over from whom you trust, by 1 change of the set' };
  return [
    ...CLAIMS[proven.claim](proven[proven.claim]),
    `Says header ${by.height} of ledger time ${time(by.time_ns)}, ` +
      (checkpoints > 0
        ? `signed as a checkpoint, ${checkpoints} of them from genesis on, by more than two thirds of the power`
        : `decided by more than two thirds of ${proven.validators} validators: ` +
          (changes[handovers] ?? `who took over from whom you trust, by ${handovers} changes of the set`)),
    `Chain ${proven.chain_id}`,
  ];
}

const CLAIMS = {
  operation(said) {
    const { operation } = said;
    const what =
      operation.kind === 'transfer'
        ? `Transfer ${operation.id} from account ${operation.debit} to account ${operation.credit}: ${said.outcome}. ` +
          `${said.actual_units} of ${operation.amount_units} units of asset ${operation.asset} moved or reserved`
        : `${operation.kind}: ${said.outcome}`;
    return [
      `Operation ${said.index} of ${said.of} of transaction ${said.tx_id}, in block ${said.height} at place ` +
        `${said.transaction_index}`,
      what + (said.score === null ? '; not scored' : `; score ${said.score}`),
    ];
  },
  account(said) {
    const { balances } = said;
    return [
      `Account ${said.account} of asset ${said.asset} had after block ${said.height}, in units:`,
      `debits posted ${balances.debits_posted}, credits posted ${balances.credits_posted}, ` +
        `debits pending ${balances.debits_pending}, credits pending ${balances.credits_pending}`,
    ];
  },
  consistency(said) {
    return [
      `The ${said.old.transactions} transactions up to height ${said.old.height} are the first of the ` +
        `${said.new.transactions} up to height ${said.new.height}, unchanged and in order`,
    ];
  },
};

function time(ns) {
  const date = new Date(Number(BigInt(ns) / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${ns} ns` : date.toISOString();
}
