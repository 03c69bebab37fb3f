// What is checked of each model: runs (sets of -D flags) in which every promise must hold, and mutations, each with the run that
// notices it and the promise that it breaks.

export const models = [
  {
    name: 'waking',
    about: 'announced sleepers, notifications, polling',
    runs: [[], ['NARROW'], ['LOST']],
    mutations: [
      ['READS_SLEEPERS_BEFORE_ITS_NUMBER', [], 'prompt'],
      ['DOES_NOT_WAIT_FOR_OLDER_WRITERS', [], 'prompt'],
      ['TAKES_ITS_NUMBER_BEFORE_ITS_ANNOUNCEMENT', [], 'prompt'],
      ['FINDS_THEM_OVER_AFTER_ITS_LOOK', [], 'prompt'],
      ['SLEEPS_AFTER_ITS_ANNOUNCEMENT', [], 'prompt'],
      ['TAKES_A_CLAIM_FOR_AN_ANNOUNCEMENT', [], 'prompt'],
      ['TAKES_A_LOCKED_ROW_FOR_AN_ANNOUNCEMENT', [], 'prompt'],
      ['TRUSTS_AN_ANNOUNCEMENT_THAT_RAN_OUT', ['NARROW'], 'prompt'],
      ['NEVER_RENEWS', [], 'prompt'],
      ['FORGETS_WHAT_COMES_DURING_A_LOOK', [], 'prompt'],
      ['NEVER_POLLS', ['LOST'], 'bounded'],
    ],
  },
  {
    name: 'hint',
    about: 'near, wide and whole looks, side by side, stalled, failed',
    runs: [[], ['TOGETHER'], ['STALL'], ['FAIL'], ['LOST'], ['LOST', 'TOGETHER'], ['LOST', 'FAIL'], ['LOST', 'RIVAL']],
    mutations: [
      ['IS_NOT_LOWERED_BY_A_NOTIFICATION', [], 'prompt'],
      ['REMEMBERS_IN_SPITE_OF_A_NOTIFICATION', ['TOGETHER'], 'prompt'],
      ['TELLS_ONE_LOOK_ONLY', ['STALL'], 'prompt'],
      ['OBEYS_THE_HINT_IN_WHOLE_LOOKS', ['LOST'], 'bounded'],
      ['DOES_NOT_SAY_WHEN_A_WHOLE_LOOK_IS_DUE', ['LOST'], 'bounded'],
      ['BEGINS_AT_ITS_END_AFTER_A_FULL_CLAIM', [], 'prompt'],
    ],
  },
  {
    name: 'lease',
    about: 'claim, ack, nack, extend, lapse',
    runs: [[], ['ALONE']],
    mutations: [
      ['CLAIMS_WITHOUT_A_LOCK', ['ALONE'], 'never early'],
      ['DOES_NOT_LOOK_AGAIN_AFTER_THE_LOCK', ['ALONE'], 'never early'],
      ['CLAIMS_A_TICK_EARLY', ['ALONE'], 'never early'],
      ['DOES_NOT_COUNT_THE_ATTEMPT_OF_A_LAPSE', ['ALONE'], 'one holder'],
      ['ACKS_WHATEVER_ATTEMPT', ['ALONE'], 'fenced'],
      ['DOES_NOT_UNDO_THE_ACK_OF_ANOTHER', ['ALONE'], 'fenced'],
      ['EXTENDS_WHATEVER_ATTEMPT', ['ALONE'], 'fenced'],
      ['SETTLES_WHAT_IS_NOT_LEASED', ['ALONE'], 'fenced'],
    ],
  },
  {
    name: 'throttle',
    about: 'notifications held back by a client',
    runs: [[]],
    mutations: [
      ['DROPS_THE_LAST_NOTIFICATION', [], 'told'],
      ['HOLDS_BACK_WHEN_SENT', [], 'told'],
      ['TAKES_LATE_FOR_HELD', [], 'told'],
      ['FORGETS_WHEN_WAKE_FAILS', [], 'told'],
      ['LETS_A_FAILED_STATEMENT_SPEAK', [], 'told'],
    ],
  },
]
