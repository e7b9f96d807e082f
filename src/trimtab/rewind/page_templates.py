"""HTML of the page of searches. `page.py` fills in the values, which are HTML already."""

from string import Template

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Rewind: kept and taken back</title>
<style>
$style</style>
</head>
<body>
<main>
<h1>Rewind: what was kept and what was taken back</h1>
$about
<section class="legend">
<h2>How to read this</h2>
<p>At each step the model writes several branches. It continues each branch with a draft, and a judge scores the draft.
A branch that was <ins class="words">kept</ins> is underlined: it is part of the text.
A branch that was <del><b class="words">taken back</b><span class="draft"> with its draft</span></del> is struck
through.
A branch that is <b class="words">undecided</b> continues a kept branch; a later step decides about it.</p>
<ul>
<li><b>judge</b>: the score of the draft, from ${lowest} to ${highest}</li>
<li><b>mean</b>: the mean score of all drafts on the branch</li>
<li><b>visits</b>: the number of search iterations that went through the branch</li>
<li><b>prior</b>: the probability of the branch among its siblings</li>
<li><b>tokens encoded</b>, <b>forward calls</b> and <b>seconds</b>: the cost of the whole call, for all texts</li>
</ul>
</section>
$articles
</main>
</body>
</html>
""")

ABOUT = Template("""\
<section class="about">
<h2>How this was made</h2>
<table>
$rows
</table>
</section>""")

ARTICLE = Template("""\
<article>
<h2>$title</h2>
<h3 class="unseen">Prompt and text</h3>
<p class="text whole"><span class="prompt">$prompt</span><span class="answer">$text</span></p>
$numbers
$steps
</article>""")

STEP = Template("""\
<section class="step" id="$place">
<h3>Step $number <span class="count">$count</span></h3>
<p class="text"><span class="prompt">$prompt</span>\
<span class="answer"><span class="before">$before</span><ins class="words">$kept</ins></span></p>
$facts
$first
<ul class="branches">
$branches
</ul>
</section>""")

BRANCH = Template("""\
<li class="branch $kind $side" style="--share:$share">
<p class="text"><span class="status">$status</span> $words</p>
$facts
$below
</li>""")

BELOW = Template("""\
<details>
<summary>$count</summary>
<ul class="branches">
$branches
</ul>
</details>""")
