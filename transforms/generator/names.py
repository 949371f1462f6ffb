"""Given names, surnames and nicknames the generator draws from; earlier names are more common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Culture:
    """Names of one culture, the commonest first."""

    women: tuple[str, ...]
    men: tuple[str, ...]
    surnames: tuple[str, ...]


def _culture(women: str, men: str, surnames: str) -> Culture:
    def split(names: str) -> tuple[str, ...]:
        return tuple(name.replace("_", " ") for name in names.split())

    return Culture(split(women), split(men), split(surnames))


CULTURES: dict[str, Culture] = {
    "british": _culture(
        "Margaret Susan Sarah Elizabeth Emma Karen Jacqueline Patricia Catherine Victoria Rebecca Jennifer Christine "
        "Charlotte Alexandra Samantha Helen Deborah Amanda Gillian Jessica Hannah Chloe Emily Abigail Grace Lucy "
        "Olivia Amelia Isabella Sophie Georgina Eleanor Judith Barbara Pamela Frances Rosemary",
        "David John Michael James Andrew Robert Richard William Christopher Stephen Thomas Anthony Matthew Daniel "
        "Benjamin Joseph Edward Alexander Nicholas Timothy Gregory Jonathan Samuel Charles Kenneth Ronald Philip "
        "Simon Peter George Harry Oliver Jack Henry Frederick Leonard Geoffrey Nigel",
        "Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson Wright Thompson Evans Walker White Roberts "
        "Green Hall Wood Jackson Clarke Harris Cooper Ward Turner Martin Hill Morris Moore Clark Baker Harrison King "
        "Morgan Lee Allen Parker Cook Phillips Watson Davis Bennett Price Young Griffiths Mitchell Kelly Cox Carter "
        "Richardson Bailey Bell Shaw Murphy Miller Collins Richards Marshall Simpson Anderson Ellis Adams Wilkinson "
        "Foster Chapman Mason Webb Rogers Hunt Mills Palmer Holmes Gibson Matthews Fisher Barnes Knight Lloyd Butler "
        "Russell Barker Stevens Jenkins Murray Dixon Fletcher Hughes Edwards Thomas Lewis MacDonald McDonald "
        "Campbell Stewart Robertson Fraser O'Connor Pritchard Featherstone Ashworth Cholmondeley Hollingsworth "
        "Smith-Jones Parker-Bowes Attwood Braithwaite Entwistle Ramsbottom Thistlethwaite Winterbottom Yardley",
    ),
    "irish": _culture(
        "Mary Aoife Ciara Niamh Siobhán Sinéad Róisín Orla Caoimhe Gráinne Fiona Bridget",
        "Patrick Seán Conor Liam Cian Eoin Darragh Pádraig Brendan Declan Kevin Ciarán",
        "Murphy Kelly O'Sullivan Walsh O'Brien Byrne Ryan O'Connor O'Neill O'Reilly Doyle McCarthy Gallagher Doherty "
        "Kennedy Lynch Murray Quinn Moore McLoughlin Ó_Cuinn Ní_Bhriain",
    ),
    "german": _culture(
        "Anna Maria Sabine Claudia Katharina Julia Monika Petra Ursula Jürgen-Marie Käthe Renate Ingrid Annegret",
        "Peter Michael Thomas Andreas Wolfgang Klaus Jürgen Günter Stefan Christian Matthias Jörg Björn Karl-Heinz",
        "Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter Klein "
        "Wolf Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Schmitt Werner Krause Meier "
        "Lehmann Köhler Groß Weiß von_Berg",
    ),
    "french": _culture(
        "Marie Nathalie Isabelle Catherine Françoise Hélène Chloé Zoé Élodie Camille Véronique Anaïs Geneviève",
        "Jean Philippe Michel Alain François Étienne Nicolas Christophe Frédéric Julien Rémi Benoît Jérôme",
        "Martin Bernard Dubois Thomas Robert Richard Petit Durand Leroy Moreau Simon Laurent Lefebvre Michel Garcia "
        "David Bertrand Roux Vincent Fournier Morel Girard André Lefèvre Mercier Dupont Lambert Bonnet François "
        "Le_Goff De_La_Tour",
    ),
    "dutch": _culture(
        "Johanna Maria Anna Cornelia Elisabeth Anouk Femke Sanne Lotte Marijke Noor",
        "Johannes Jan Pieter Cornelis Hendrik Willem Daan Sem Bram Joris Maarten",
        "de_Jong Jansen de_Vries van_den_Berg van_Dijk Bakker Janssen Visser Smit Meijer de_Boer Mulder de_Groot Bos "
        "Vos Peters Hendriks van_Leeuwen Dekker Brouwer de_Wit Dijkstra Smits de_Graaf van_der_Meer",
    ),
    "spanish": _culture(
        "María Carmen Ana Isabel Laura Cristina Lucía Pilar Inês João-Maria Beatriz",
        "Antonio José Manuel Francisco Javier João Ángel Raúl Andrés Iñigo Tomás",
        "García Rodríguez González Fernández López Martínez Sánchez Pérez Gómez Martín Jiménez Ruiz Hernández Díaz "
        "Moreno Muñoz Álvarez Silva Santos Ferreira Pereira Oliveira Costa Gonçalves Núñez",
    ),
    "nordic": _culture(
        "Anna Eva Maria Karin Kristina Ingrid Åsa Astrid Freja Sigrid Märta",
        "Lars Mikael Anders Johan Erik Bjørn Søren Jens Håkan Åke Nils",
        "Andersson Johansson Karlsson Nilsson Eriksson Larsson Olsson Persson Svensson Jensen Nielsen Hansen Pedersen "
        "Sørensen Rasmussen Lindström Lindqvist Bergström Åkesson Öberg Korhonen Virtanen",
    ),
    "polish": _culture(
        "Anna Katarzyna Małgorzata Agnieszka Zofia Elżbieta Wanda",
        "Piotr Krzysztof Andrzej Tomasz Paweł Michał Łukasz",
        "Nowak Kowalski Wiśniewski Wójcik Kowalczyk Kamiński Lewandowski Zieliński Szymański Woźniak Dąbrowski "
        "Kozłowski Jankowski Mazur Krawczyk Łuczak",
    ),
    "italian": _culture(
        "Giulia Francesca Chiara Elena Lucia Paola Niccolò-Maria",
        "Giuseppe Marco Alessandro Luca Matteo Niccolò Andrea",
        "Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Bruno Gallo Conti De_Luca D'Angelo",
    ),
    "greek": _culture(
        "Maria Eleni Katerina Ελένη Sofia Δήμητρα",
        "Georgios Dimitris Nikos Γιώργος Yannis Κώστας",
        "Papadopoulos Georgiou Ioannou Papadakis Παπαδόπουλος Nikolaidis Oikonomou Αντωνίου",
    ),
    "south_asian": _culture(
        "Priya Fatima Ayesha Anjali Zainab Sunita Meera Nadia Harpreet Shabnam",
        "Mohammed Muhammad Raj Amit Imran Sanjay Arjun Tariq Gurpreet Ali",
        "Patel Khan Singh Ahmed Kaur Hussain Ali Begum Shah Sharma Gupta Malik Iqbal Chaudhry Mohammed Akhtar Rahman "
        "Gill Sandhu Bhatt",
    ),
}

# Who lives where: most people have names of their country's culture, the rest of these.
MINORITIES: tuple[tuple[str, float], ...] = (("south_asian", 0.4), ("polish", 0.2), ("irish", 0.2), ("italian", 0.2))
MINORITY_SHARE = 0.12

NICKNAMES: dict[str, str] = {
    "Margaret": "Maggie", "Susan": "Sue", "Elizabeth": "Liz", "Jacqueline": "Jackie", "Patricia": "Pat",
    "Catherine": "Cathy", "Victoria": "Vicky", "Rebecca": "Becky", "Jennifer": "Jenny", "Christine": "Chris",
    "Charlotte": "Lottie", "Alexandra": "Alex", "Samantha": "Sam", "Deborah": "Debbie", "Amanda": "Mandy",
    "Gillian": "Jill", "Jessica": "Jess", "Abigail": "Abby", "Isabella": "Bella", "Georgina": "Georgie",
    "Eleanor": "Ellie", "Judith": "Judy", "Pamela": "Pam", "Frances": "Fran", "Rosemary": "Rose",
    "David": "Dave", "Michael": "Mike", "James": "Jim", "Andrew": "Andy", "Robert": "Bob", "Richard": "Dick",
    "William": "Bill", "Christopher": "Chris", "Stephen": "Steve", "Thomas": "Tom", "Anthony": "Tony",
    "Matthew": "Matt", "Daniel": "Dan", "Benjamin": "Ben", "Joseph": "Joe", "Edward": "Ted", "Alexander": "Alex",
    "Nicholas": "Nick", "Timothy": "Tim", "Gregory": "Greg", "Jonathan": "Jon", "Samuel": "Sam", "Charles": "Charlie",
    "Kenneth": "Ken", "Ronald": "Ron", "Philip": "Phil", "Frederick": "Fred", "Leonard": "Len", "Geoffrey": "Geoff",
    "Katharina": "Käthe", "Johannes": "Hans", "Wolfgang": "Wolf", "Hendrik": "Henk", "Cornelis": "Cees",
    "Elisabeth": "Els", "Antonio": "Toni", "Francisco": "Paco", "José": "Pepe", "Giuseppe": "Beppe",
    "Alessandro": "Sandro", "Francesca": "Franca", "Patrick": "Paddy", "Mohammed": "Mo", "Katarzyna": "Kasia",
    "Małgorzata": "Gosia",
}  # fmt: skip

# Made-up mail services under names that RFC 2606 keeps out of use, so that no message reaches anybody.
MAIL_DOMAINS: tuple[str, ...] = (
    "mail.example", "inbox.example", "post.example", "webmail.example", "letterbox.example", "home.example",
    "example.com", "example.org", "example.net", "work.example",
)  # fmt: skip
