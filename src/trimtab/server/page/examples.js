// Prompts to start from. The plain ones are those of results/showcase.md.

export const EXAMPLES = [
  { mode: "text", prompt: "The weather today makes me" },
  { mode: "text", prompt: "After ten years in this city, I feel" },
  { mode: "text", prompt: "My first day at work was" },
  { mode: "text", prompt: "The food at the hotel was" },
  { mode: "text", prompt: "The new neighbours are" },
  { mode: "text", prompt: "When I opened the letter, I" },
  { mode: "text", prompt: "Our holiday in Rome was" },
  { mode: "text", prompt: "The meeting this morning was" },
  { mode: "text", prompt: "My grandmother told me that" },
  { mode: "text", prompt: "The film we saw last night was" },
  { mode: "text", prompt: "The customer called again, and" },
  { mode: "text", prompt: "This phone is" },
  { mode: "text", prompt: "Dear team, the results of this quarter are" },
  { mode: "text", prompt: "I asked the waiter about the soup, and he" },
  { mode: "text", prompt: "The book I just finished was" },
  { mode: "text", prompt: "Last weekend my brother and I" },
  { mode: "chat", prompt: "What do you think of my neighbours?" },
  { mode: "chat", prompt: "Write two sentences about Mondays." },
];

export const NUDGES = {
  text: "A kind and cheerful text:\n\n",
  chat: "Answer kindly.",
};
