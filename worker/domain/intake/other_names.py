"""Names of our columns in other systems and languages.

They are only suggested: a wrong guess would send messages to strangers.
"""

import unicodedata

# In ASCII, in small letters, as `without_accents` writes them, with _ between words.
_NAMES: dict[str, str] = {
    "customer_id": (
        "id client_id user_id customer_no customer_number client_no client_number reference contact_id member_id"
        " kunde kundennummer kunden_nr kundennr kunden_id kd_nr personennummer mitgliedsnummer"  # German
        " numero_client no_client id_client identifiant code_client"  # French
        " numero_de_cliente id_cliente codigo_cliente no_cliente"  # Spanish
        " codice_cliente numero_cliente"  # Italian
        " numero_do_cliente codigo_do_cliente"  # Portuguese
        " klantnummer klant_id relatienummer"  # Dutch
        " numer_klienta id_klienta nr_klienta"  # Polish
        " kliento_numeris kliento_id kliento_nr"  # Lithuanian
        " kundnummer kund_id"  # Swedish
    ),
    "email": (
        "mail e_mail email_address e_mail_address emailadresse e_mail_adresse mailadresse"
        " courriel adresse_e_mail adresse_email adresse_mail correo correo_electronico posta_elettronica"
        " indirizzo_email"
        " correio_eletronico endereco_de_email e_mailadres emailadres adres_e_mail poczta el_pastas elektroninis_pastas"
        " e_post epost e_postadress"
    ),
    "phone": (
        "mobile telephone tel phone_number mobile_number cell cell_phone mobile_phone contact_number"
        " telefon telefonnummer handy handynummer mobil mobilnummer mobiltelefon rufnummer"
        " portable mobile_client numero_de_telephone telefono movil telefono_movil celular cellulare numero_di_telefono"
        " telefone telemovel telefoon telefoonnummer mobiel numer_telefonu telefon_komorkowy komorka telefonas"
        " telefono_numeris mobilusis mobilnr"
    ),
    "first_name": (
        "given_name forename firstname vorname prenom nombre nombres nome primeiro_nome voornaam imie vardas fornamn"
    ),
    "last_name": (
        "surname family_name lastname nachname familienname zuname nom nom_de_famille apellido apellidos cognome"
        " sobrenome apelido ultimo_nome achternaam familienaam nazwisko pavarde efternamn"
    ),
    "company_name": (
        "company organisation organization firma firmenname unternehmen entreprise societe raison_sociale empresa"
        " razon_social azienda ragione_sociale nome_da_empresa bedrijf bedrijfsnaam nazwa_firmy imone"
        " imones_pavadinimas"
        " foretag foretagsnamn"
    ),
    "date_of_birth": (
        "dob birthday birth_date birthdate geburtsdatum geburtstag geb_datum date_de_naissance fecha_de_nacimiento"
        " data_di_nascita data_de_nascimento geboortedatum data_urodzenia gimimo_data fodelsedatum"
    ),
    "sex": "gender geschlecht sexe sexo sesso genero geslacht plec lytis kon",
    "nationality": "staatsangehorigkeit nationalitat nationalite nacionalidad nazionalita nacionalidade nationaliteit"
    " obywatelstwo pilietybe nationalitet citizenship",
    "address": "anschrift adresse direccion indirizzo endereco morada adres adresas adress street_address",
    "locale": "language lang sprache langue idioma lingua taal jezyk kalba sprak",
    "timezone": "time_zone zeitzone fuseau_horaire zona_horaria fuso_orario fuso_horario tijdzone",
    "country": "country_code land landercode pays code_pays pais paese kraj salis nation staat",
    "kind": "type customer_type kundentyp",
    "tags": "tag labels",
    "channel": "kanal canal canale kanaal",
    "consent": "einwilligung consentement consentimiento consenso consentimento toestemming zgoda sutikimas samtycke",
}
_ENGLISH = frozenset(
    name
    for line in (
        "id client_id user_id customer_no customer_number client_no client_number reference mail e_mail email_address",
        "mobile telephone tel phone_number given_name forename surname family_name company dob birthday birth_date",
        "gender language lang time_zone country_code type tag",
    )
    for name in line.split()
)
OTHER_NAMES = {name: ours for ours, names in _NAMES.items() for name in names.split()}


# A typing error in one of these is found too; other languages' words are too many to be near by anything but chance.
ENGLISH = tuple(name for name in OTHER_NAMES if name in _ENGLISH)
WHOLE_NAMES = frozenset({"name", "full_name", "fullname", "customer_name", "naam", "namn"})  # of no single column


def without_accents(text: str) -> str:
    """In small letters, without accents: "Prénom" is prenom."""
    plain = unicodedata.normalize("NFKD", text.strip().lower()).translate(_LETTERS)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


_LETTERS = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "đ": "d", "ı": "i"})
