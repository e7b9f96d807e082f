// Rewards that are another method for the attributes of a registered one, such as sentiment-rad beside sentiment.

export function isVariant({ id }, rewards) {
  return rewards.some((other) => id.startsWith(`${other.id}-`));
}
